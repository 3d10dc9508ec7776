//! What to do about a controller that gave nothing.

use slurm_protocol::{Errno, FrameError, ProtocolVersion, Release};

use super::failure::{Failures, Reason};
use super::{Errand, FileSet};
use crate::credential::Method;
use crate::dns::ResolveError;
use crate::transport::TransportError;

impl Failures {
    /// What to do about the failure that says most.
    pub(crate) fn hint(&self) -> String {
        self.telling()
            .map(|reason| self.hint_for(reason))
            .unwrap_or_default()
    }

    /// What to do about this one.
    pub(crate) fn hint_for(&self, reason: &Reason) -> String {
        match reason {
            Reason::Name(ResolveError::InvalidName { .. }) => {
                "a host name consists of letters, digits, dots and hyphens".into()
            }
            Reason::Name(_) => {
                "is the controller's name spelt as in slurm.conf's SlurmctldHost, and can this \
                 container resolve it (/etc/resolv.conf, /etc/hosts)? An address will do, too"
                    .into()
            }
            Reason::Unreachable(_) => self.or_wait(
                "does slurmctld run there, is this its SlurmctldPort (6817 unless slurm.conf says \
                 otherwise), and can this container reach it?",
            ),
            Reason::Transport(error) => self.transport_hint(error),
            Reason::Standby(_) if self.all().len() > 1 => {
                self.or_wait("the backup takes over SlurmctldTimeout after the primary went down")
            }
            Reason::Standby(_) => self.or_wait(
                "name the primary controller as well, separated by a comma; if it is down, the \
                 backup takes over after SlurmctldTimeout",
            ),
            Reason::Busy(_) => self.or_wait("it may have more time later"),
            Reason::Silent => self.silent_hint(),
            Reason::Refused { method, .. } => format!(
                "{} came from {}: {}",
                method.noun(),
                self.place(),
                refused_hint(*method)
            ),
            Reason::Credential(error) => error.hint(),
            Reason::Http => self.http_hint(),
            Reason::NoCommonVersion { controller } => self.version_hint(*controller),
            Reason::NotSlurm(_) => "is this the port of slurmctld (SlurmctldPort)?".into(),
            Reason::ConfiglessDisabled => {
                "set SlurmctldParameters=enable_configless in the controller's slurm.conf and run \
                 `scontrol reconfigure` (up to 23.02: restart slurmctld)"
                    .into()
            }
            Reason::NotAllowed if *self.errand() == Errand::Files(FileSet::Slurmd) => {
                let whose = match self.user() {
                    Some(user) => format!("the token is {}'s", user.escape_debug()),
                    None => format!("{} is not theirs", self.noun()),
                };
                format!(
                    "only root and SlurmUser may have the slurmd set, and {whose}; for client \
                     commands leave --files slurmd out"
                )
            }
            Reason::NotAllowed => {
                "what does slurmctld's log say? Any user who can authenticate may have the client \
                 set"
                .into()
            }
            Reason::TokensDisabled => {
                "AuthAltParameters=disable_token_creation is set, so that only root and \
                 SlurmUser can have tokens made: ask them for one"
                    .into()
            }
            Reason::TokenForOther if !self.asks_for_another() => {
                "the controller knows no user of this name or uid, and makes tokens only for those \
                 that it knows"
                    .into()
            }
            Reason::TokenForOther => {
                "only root and SlurmUser may have a token made for another user (up to 21.08 not \
                 even one for one's own name: leave --for out)"
                    .into()
            }
            Reason::LifespanTooLong => {
                "AuthAltParameters=max_token_lifespan sets a limit: ask for a shorter --lifespan, \
                 or leave it out"
                    .into()
            }
            Reason::NoTokens => {
                "slurm.conf needs AuthAltTypes=auth/jwt and a key that tokens are signed with \
                 (AuthAltParameters=jwt_key); where it names an identity provider's keys (jwks), \
                 take tokens from there"
                    .into()
            }
            Reason::TlsRequired { .. } => {
                format!("this cluster has TLSType=tls/s2n: {}", self.no_tls())
            }
            Reason::Code(Errno::ESLURM_AUTH_UNABLE_TO_GENERATE_TOKEN) => {
                "where slurm.conf names an identity provider's keys (AuthAltParameters=jwks) and no \
                 jwt_key, take tokens from there; otherwise slurmctld's log says more"
                    .into()
            }
            Reason::Code(_) => "slurmctld's log says more".into(),
            Reason::Malformed(_) | Reason::Unexpected(_) | Reason::NotAToken => {
                "is it a slurmctld? If so, this is a bug of straw's: please report it with the \
                 release of the controller and what -vv prints"
                    .into()
            }
            Reason::Request(_) => "is the token, or the name after --for, a whole one?".into(),
        }
    }

    /// A hint, and, where that was not done, that straw can go on trying.
    fn or_wait(&self, hint: &str) -> String {
        if self.waited() {
            hint.to_owned()
        } else {
            let separator = if hint.ends_with('?') { "" } else { ";" };
            format!("{hint}{separator} --wait 3m keeps trying")
        }
    }

    /// Whether a token for another user was asked for.
    fn asks_for_another(&self) -> bool {
        matches!(self.errand(), Errand::Token(request) if request.user.is_some())
    }

    /// A hint that TLS is wanted, and what went out without it.
    fn no_tls(&self) -> String {
        let noun = self.noun();
        let sent = if self.all().iter().any(|failure| failure.credential_sent) {
            format!("{noun} went out in the clear, so take it for seen")
        } else {
            format!("{noun} was not sent")
        };
        format!(
            "give the cluster's CA with --ca-cert (the ca_cert.pem beside its slurm.conf); {sent}"
        )
    }

    fn silent_hint(&self) -> String {
        let doubt = match self.release() {
            Some(release) => {
                format!("its release is not {release} (leave --release out, then straw finds it)")
            }
            None => format!(
                "its release is none that this straw knows ({})",
                known_releases()
            ),
        };
        let Some(method) = self.method() else {
            return format!(
                "up to Slurm 24.05 a controller answers nobody without a credential, and there is \
                 none to ask it with ({}). If it is newer, {doubt}",
                self.place()
            );
        };
        let refused = match method {
            Method::Jwt => {
                "it refused the token: then the token is not signed by this cluster's key, or \
                 slurm.conf lacks AuthAltTypes=auth/jwt"
            }
            Method::Munge => {
                "it refused the munge credential: then the socket is not of this cluster's munged, \
                 the clocks disagree, or slurm.conf has another AuthType"
            }
            Method::Slurm => {
                "it refused the SACK credential: then the socket is not of this cluster's, or \
                 slurm.conf has another AuthType (before 23.11 there is no auth/slurm)"
            }
        };
        format!(
            "either {doubt}, or, up to Slurm 24.05, {refused}. (It came from {}.) slurmctld's log \
             tells them apart: it complains of a protocol version, or of authentication. (A proxy \
             without a controller behind it closes, too.)",
            self.place()
        )
    }

    fn http_hint(&self) -> String {
        match self.release() {
            Some(release) => format!(
                "a slurmctld since 25.11 answers so to a release it does not accept, here \
                 {release}: leave --release out. If it is a web server, check host and port"
            ),
            None => format!(
                "either it is a web server or a proxy, then check host and port; or it is a \
                 slurmctld that accepts none of the releases this straw knows ({}): then get a \
                 newer straw",
                known_releases()
            ),
        }
    }

    fn version_hint(&self, controller: ProtocolVersion) -> String {
        let accepted = controller.accepted_by_controller();
        let would_do: Vec<_> = Release::ALL
            .iter()
            .filter(|release| accepted.contains(&release.version()))
            .map(|release| release.name())
            .collect();
        match (self.release(), would_do.is_empty()) {
            (Some(release), false) => format!(
                "not {release}: leave --release out, or give one of {}",
                would_do.join(", ")
            ),
            (None, false) => "it had said otherwise a moment before: do several controllers of \
                              different releases stand behind this address?"
                .into(),
            (_, true) => format!(
                "this straw speaks Slurm {}: get a newer straw",
                known_releases()
            ),
        }
    }

    fn transport_hint(&self, error: &TransportError) -> String {
        match error {
            TransportError::Frame(FrameError::Tls) => self.no_tls(),
            TransportError::Frame(FrameError::TooLarge { .. }) => {
                "a configuration is rarely larger than some MiB; if this one is, raise --max-size"
                    .into()
            }
            TransportError::Tls(error) => match self.ca() {
                Some(ca) => {
                    let hint = error.hint();
                    let stop = if hint.ends_with('?') { "" } else { "." };
                    format!("{hint}{stop} (The CA is that in {}.)", ca.display())
                }
                None => error.hint(),
            },
            TransportError::Frame(_) => "is this the port of slurmctld (SlurmctldPort)?".into(),
            TransportError::Silence if self.ca().is_some() => self.or_wait(
                "is it a slurmctld? If it is busy or just starting, give it time with --timeout. \
                 One that has no TLS is silent, too: leave --ca-cert out only if you know that this \
                 cluster has none",
            ),
            TransportError::Silence => self.or_wait(
                "is it a slurmctld? If it is busy or just starting, give it time with --timeout. \
                 One of 25.05 that wants TLS is silent, too: then give its CA with --ca-cert",
            ),
            TransportError::Broken { .. } | TransportError::Connect(_) => {
                self.or_wait("does something between here and the controller cut connections?")
            }
        }
    }
}

fn refused_hint(method: Method) -> &'static str {
    match method {
        Method::Jwt => {
            "is the token signed by this cluster's key (`scontrol token` on one of its login \
             nodes makes one), does its slurm.conf have AuthAltTypes=auth/jwt, do both clocks \
             agree, and is this the port of slurmctld rather than slurmd?"
        }
        Method::Munge => {
            "is this the socket of a munged with this cluster's munge.key, does its slurm.conf \
             have AuthType=auth/munge, and do both clocks agree within five minutes? munged signs \
             for the user as the host sees it, each credential for one use"
        }
        Method::Slurm => {
            "is this a SACK socket of this cluster (the same slurm.key), does its slurm.conf have \
             AuthType=auth/slurm, and do both clocks agree within a minute?"
        }
    }
}

fn known_releases() -> String {
    format!(
        "{} to {}",
        Release::ALL[0],
        Release::ALL[Release::ALL.len() - 1]
    )
}
