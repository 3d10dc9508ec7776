//! Slurm's error numbers that a client of this protocol can meet (docs/protocol.md, section 9.1).

use std::fmt;

/// A return code: 0, or an error number. Any value survives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub u32);

/// Declares the known numbers: constant, number, text.
macro_rules! errno {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl Errno {
            $(#[doc = concat!($text, ".")] pub const $name: Self = Self($number);)*

            /// Every number with a name here, in ascending order.
            pub const KNOWN: &'static [Self] = &[$(Self::$name),*];

            /// Slurm's name for it, where we know it.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// What it means, in a clause of our own.
            pub fn text(self) -> &'static str {
                match self.0 {
                    $($number => $text,)*
                    _ => "an unknown error",
                }
            }
        }
    };
}

errno! {
    SLURM_SUCCESS = 0, "no error";
    SLURM_UNEXPECTED_MSG_ERROR = 1000, "a message of this type was not expected";
    SLURM_COMMUNICATIONS_CONNECTION_ERROR = 1001, "a connection could not be made";
    SLURM_COMMUNICATIONS_SEND_ERROR = 1002, "a message could not be sent";
    SLURM_COMMUNICATIONS_RECEIVE_ERROR = 1003, "a message could not be received";
    SLURM_COMMUNICATIONS_SHUTDOWN_ERROR = 1004, "a connection could not be closed";
    SLURM_PROTOCOL_VERSION_ERROR = 1005, "the protocol version is not accepted";
    SLURM_PROTOCOL_AUTHENTICATION_ERROR = 1007, "the credential or the protocol version is not accepted";
    SLURM_PROTOCOL_INSANE_MSG_LENGTH = 1008, "the message has an impossible length";
    SLURM_COMMUNICATIONS_MISSING_SOCKET_ERROR = 1013, "a socket is missing";
    SLURM_COMMUNICATIONS_REJECTED = 1019, "the connection was rejected";
    SLURM_SHUTTING_DOWN = 1025, "the controller is shutting down";
    SLURMCTLD_COMMUNICATIONS_CONNECTION_ERROR = 1800, "the controller could not be connected to";
    SLURMCTLD_COMMUNICATIONS_SEND_ERROR = 1801, "a message to the controller could not be sent";
    SLURMCTLD_COMMUNICATIONS_RECEIVE_ERROR = 1802, "a message from the controller could not be received";
    SLURMCTLD_COMMUNICATIONS_SHUTDOWN_ERROR = 1803, "the connection to the controller could not be closed";
    SLURMCTLD_COMMUNICATIONS_BACKOFF = 1804, "the controller asks to slow down";
    SLURMCTLD_COMMUNICATIONS_HARD_DROP = 1805, "the controller drops requests: too many came";
    ESLURM_ACCESS_DENIED = 2002, "access is denied";
    ESLURM_USER_ID_MISSING = 2010, "this user may not do that";
    ESLURM_IN_STANDBY_MODE = 2027, "the controller is a backup in standby";
    ESLURM_NOT_SUPPORTED = 2036, "the controller does not support that";
    ESLURM_DISABLED = 2037, "that is disabled";
    ESLURM_INVALID_TIME_LIMIT = 2051, "the time asked for is over the limit";
    ESLURM_CONFIGLESS_DISABLED = 2126, "configless mode is not enabled";
    ESLURM_IN_STANDBY_USE_BACKUP = 2131, "the controller is a backup in standby";
    ESLURM_PROTOCOL_INCOMPLETE_PACKET = 5003, "the message was incomplete";
    SLURM_PROTOCOL_SOCKET_IMPL_TIMEOUT = 5004, "a message timed out";
    SLURM_PROTOCOL_SOCKET_ZERO_BYTES_SENT = 5005, "nothing was sent";
    ESLURM_AUTH_CRED_INVALID = 6000, "the credential is not valid";
    ESLURM_AUTH_EXPIRED = 6001, "the credential has expired";
    ESLURM_AUTH_BADARG = 6004, "the authentication plugin was called wrongly";
    ESLURM_AUTH_UNPACK = 6007, "the credential could not be read";
    ESLURM_AUTH_SKIP = 6008, "the authentication plugin passed the credential over";
    ESLURM_AUTH_UNABLE_TO_GENERATE_TOKEN = 6009, "the controller could not make a token";
    ESLURM_AUTH_NOBODY = 6010, "the credential is of the user nobody";
    ESLURM_PLUGIN_INVALID = 8002, "a plugin at the controller is not valid";
    ESLURM_PLUGIN_INCOMPLETE = 8003, "a plugin at the controller is not complete";
    ESLURM_PLUGIN_NOT_LOADED = 8004, "the controller has not loaded the plugin";
    ESLURM_TLS_REQUIRED = 13000, "the controller wants TLS";
}

impl Errno {
    /// Whether it says that another controller of the cluster is the one to ask.
    pub fn is_standby(self) -> bool {
        matches!(
            self,
            Self::ESLURM_IN_STANDBY_MODE | Self::ESLURM_IN_STANDBY_USE_BACKUP
        )
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name}, error {})", self.text(), self.0),
            None => write!(f, "{} (error {})", self.text(), self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_all_have_names_and_texts() {
        assert!(Errno::KNOWN.is_sorted());
        for errno in Errno::KNOWN {
            assert!(errno.name().is_some());
            assert!(!errno.text().is_empty());
        }
    }

    #[test]
    fn an_unknown_number_survives_and_prints() {
        assert_eq!(Errno(4711).to_string(), "an unknown error (error 4711)");
        assert_eq!(
            Errno::ESLURM_CONFIGLESS_DISABLED.to_string(),
            "configless mode is not enabled (ESLURM_CONFIGLESS_DISABLED, error 2126)"
        );
    }
}
