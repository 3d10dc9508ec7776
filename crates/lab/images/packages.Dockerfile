# A user's image of one suite: its base image, some packages as a user would install them, and alice.
ARG SUITE
FROM debian:${SUITE}
ARG APT_OPTIONS=""
ARG PACKAGES

# The key that munge's installation makes is nobody's: it goes at once.
RUN printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d \
 && chmod 755 /usr/sbin/policy-rc.d \
 && apt-get ${APT_OPTIONS} update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ${PACKAGES} \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log /etc/munge/munge.key \
 && useradd --uid 2001 --create-home --shell /bin/bash alice
