# The machine of somebody who installs straw and nothing of Slurm: a shell that completes, manual
# pages, and a Python to install into.
ARG SUITE
FROM debian:${SUITE}
ARG APT_OPTIONS=""
RUN echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/lab \
 && apt-get ${APT_OPTIONS} update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        bash-completion bsdutils man-db python3-venv \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin \
 && python3 -m venv /opt/venv
