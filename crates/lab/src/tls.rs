//! TLS in front of slurmctld: stunnel on a controller's host, for want of Slurm's own tls/s2n, which
//! Debian does not build.
//!
//! ```no_run
//! use lab::tls::{Recipe, TlsOptions};
//! use lab::{Cluster, Release};
//!
//! # fn main() -> Result<(), lab::LabError> {
//! let cluster = Cluster::builder(Release::V26_05).start()?;
//! let proxy = cluster.tls_proxy(&TlsOptions::new(Recipe::Documented))?;
//! let (address, trusted) = (format!("ctl1:{}", proxy.port()), proxy.ca());
//! # let _ = (address, trusted);
//! # Ok(())
//! # }
//! ```

use std::fmt;

use crate::container::Container;
use crate::error::LabError;

/// How the certificates of a proxy are made. Every proxy has a certificate authority of its own, so
/// that of another is one that signed nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// By the commands in Slurm's documentation: ECDSA, common name `ctld`, and nothing that says what
    /// it is good for. The OpenSSL of bookworm makes it an X.509 certificate of version 1, those of
    /// trixie and forky one of version 3, since they add the identifiers of both keys.
    Documented,
    /// As [`Documented`](Self::Documented), and of version 1 with every OpenSSL.
    Version1,
    /// ECDSA on P-256, version 3, for a server of the [names](TlsOptions::names).
    Ecdsa,
    /// The same with RSA of 2048 bits.
    Rsa,
    /// As [`Ecdsa`](Self::Ecdsa), by an intermediate authority, whose certificate the server sends too.
    Intermediate,
    /// As [`Ecdsa`](Self::Ecdsa), valid in January 2020.
    Expired,
    /// No authority: [`TlsProxy::ca`] is the server's certificate itself. It is marked as an
    /// authority's, as the usual one-line command does it.
    SelfSigned,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersion {
    /// As stunnel writes it.
    fn word(self) -> &'static str {
        match self {
            Self::V1_2 => "TLSv1.2",
            Self::V1_3 => "TLSv1.3",
        }
    }
}

/// What a proxy is to be.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    recipe: Recipe,
    controller: usize,
    port: u16,
    names: String,
    minimum: TlsVersion,
    maximum: TlsVersion,
    client: bool,
}

impl TlsOptions {
    /// A proxy on `ctl1`, port 7817, that speaks TLS 1.2 and 1.3 with anyone.
    pub fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            controller: 0,
            port: 7817,
            names: "DNS:ctl".to_owned(),
            minimum: TlsVersion::V1_2,
            maximum: TlsVersion::V1_3,
            client: false,
        }
    }

    /// Chooses the controller.
    #[must_use]
    pub fn controller(mut self, index: usize) -> Self {
        self.controller = index;
        self
    }

    /// Chooses the port. Each proxy on a controller has its own.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The subject's alternative names in the server's certificate, as OpenSSL writes them:
    /// `DNS:ctl1,IP:198.18.0.2`; otherwise `DNS:ctl`. Certificates by the
    /// [documented](Recipe::Documented) recipe have none.
    #[must_use]
    pub fn names(mut self, names: &str) -> Self {
        self.names = names.to_owned();
        self
    }

    /// Speaks no version below or above these.
    #[must_use]
    pub fn versions(mut self, minimum: TlsVersion, maximum: TlsVersion) -> Self {
        (self.minimum, self.maximum) = (minimum, maximum);
        self
    }

    /// Speaks only with those who show a certificate of its authority, such as
    /// [`TlsProxy::client`].
    #[must_use]
    pub fn client_certificate(mut self, required: bool) -> Self {
        self.client = required;
        self
    }
}

/// A certificate, and the key that belongs to it, in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl fmt::Debug for Identity {
    /// Without the key, which has no business in the message of a failed test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// A proxy that runs. Dropping it ends it, and its port is free again.
#[derive(Debug)]
pub struct TlsProxy<'a> {
    stunnel: Stunnel<'a>,
    port: u16,
    ca: String,
    chain: String,
    client: Option<Identity>,
}

impl<'a> TlsProxy<'a> {
    /// Starts one, and returns once it listens.
    pub(crate) fn start(
        controllers: &'a [Container],
        options: &TlsOptions,
    ) -> Result<Self, LabError> {
        let controller = &controllers[options.controller];
        let stunnel = Stunnel {
            controller,
            directory: certificates(controller, options)?,
        };
        let directory = &stunnel.directory;
        let port = options.port.to_string();
        let script = include_str!("scripts/stunnel.sh");
        controller
            .exec(["sh", "-c", script, "stunnel", directory, &port])
            .stdin(configuration(options, directory))
            .check()?;
        let client = if options.client {
            Some(Identity {
                certificate: stunnel.text("client.pem")?,
                key: stunnel.text("client_key.pem")?,
            })
        } else {
            None
        };
        Ok(Self {
            port: options.port,
            ca: stunnel.text("ca_cert.pem")?,
            chain: stunnel.text("chain.pem")?,
            client,
            stunnel,
        })
    }

    /// The port on the controller's host.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of its authority, in PEM: what a client is to trust.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// What the server sends, in PEM: its own certificate, and perhaps that of an intermediate
    /// authority.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// What a client can show, if [it must](TlsOptions::client_certificate).
    pub fn client(&self) -> Option<&Identity> {
        self.client.as_ref()
    }

    /// The log of stunnel, for diagnosis.
    ///
    /// # Errors
    ///
    /// When the controller is paused.
    pub fn log(&self) -> Result<String, LabError> {
        self.stunnel.text("stunnel.log")
    }

    /// Ends it and waits until it is gone: connections to its port are refused then, and another can
    /// be started there with other certificates.
    ///
    /// # Errors
    ///
    /// When the controller is paused, or it does not end.
    pub fn stop(self) -> Result<(), LabError> {
        self.stunnel.end()
    }
}

/// A stunnel and its directory, both in the controller.
#[derive(Debug)]
struct Stunnel<'a> {
    controller: &'a Container,
    directory: String,
}

impl Stunnel<'_> {
    fn text(&self, name: &str) -> Result<String, LabError> {
        let bytes = self.controller.get(&format!("{}/{name}", self.directory))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn end(&self) -> Result<(), LabError> {
        let pid_file = format!("{}/stunnel.pid", self.directory);
        let script = include_str!("scripts/stop.sh");
        self.controller
            .exec(["sh", "-c", script, "stop", &pid_file])
            .check()?;
        self.controller
            .exec(["rm", "-rf", &self.directory])
            .check()
            .map(drop)
    }
}

impl Drop for Stunnel<'_> {
    fn drop(&mut self) {
        // What cannot be ended now goes with the controller.
        drop(self.end());
    }
}

/// Makes the certificates, and returns the directory they are in.
fn certificates(controller: &Container, options: &TlsOptions) -> Result<String, LabError> {
    let recipe = match options.recipe {
        Recipe::Documented => "documented",
        Recipe::Version1 => "version-1",
        Recipe::Ecdsa => "ecdsa",
        Recipe::Rsa => "rsa",
        Recipe::Intermediate => "intermediate",
        Recipe::Expired => "expired",
        Recipe::SelfSigned => "self-signed",
    };
    let client = if options.client { "client" } else { "" };
    let script = include_str!("scripts/certificates.sh");
    controller
        .exec([
            "sh",
            "-c",
            script,
            "certificates",
            recipe,
            &options.names,
            client,
        ])
        .check()
        .map(|out| out.text())
}

/// stunnel's configuration.
fn configuration(options: &TlsOptions, directory: &str) -> String {
    let (port, minimum, maximum) = (options.port, options.minimum.word(), options.maximum.word());
    let mut text = format!(
        "pid = {directory}/stunnel.pid
output = {directory}/stunnel.log
debug = info
[slurmctld]
accept = {port}
connect = 127.0.0.1:6817
cert = {directory}/chain.pem
key = {directory}/chain_key.pem
sslVersionMin = {minimum}
sslVersionMax = {maximum}
"
    );
    if options.client {
        text += &format!("CAfile = {directory}/ca_cert.pem\nverifyChain = yes\n");
    }
    text
}
