//! Choices out of closed lists, each known by its word: on the command line, in the file of a lab, in what is printed.

use std::fmt;
use std::str::FromStr;

use proxy::modes::{MODES, Mode};
use serde::{Deserialize, Serialize};

/// One word out of a closed list.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{given:?} is no {what}; there is {known}")]
pub struct UnknownWord {
    pub what: &'static str,
    pub given: String,
    pub known: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// Every one of them, in the order in which help shows them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(given: &str) -> Result<Self, UnknownWord> {
                match given {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord {
                        what: $what,
                        given: given.to_owned(),
                        known: [$($word),+].join(", "),
                    }),
                }
            }
        }
    };
}

words!(
    /// What carries packets between nodes.
    Backend, "backend of the lab",
    /// flannel's packet in UDP, port 8285.
    Udp = "udp",
    /// The kernel's VXLAN.
    Vxlan = "vxlan",
    /// Plain routes: the nodes share a switch.
    HostGw = "host-gw"
);

/// How the service proxies of a lab write services into the kernel: one of the proxy's own [`MODES`], known by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProxyMode(Mode);

impl Default for ProxyMode {
    fn default() -> Self {
        Self(MODES[0])
    }
}

impl fmt::Display for ProxyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_str())
    }
}

impl FromStr for ProxyMode {
    type Err = UnknownWord;

    fn from_str(given: &str) -> Result<Self, UnknownWord> {
        let known = || MODES.iter().map(|mode| mode.as_str()).collect::<Vec<_>>().join(", ");
        let found = MODES.iter().find(|mode| mode.as_str() == given);
        found.map(|mode| Self(*mode)).ok_or_else(|| UnknownWord {
            what: "mode of the service proxy",
            given: given.to_owned(),
            known: known(),
        })
    }
}

impl TryFrom<String> for ProxyMode {
    type Error = UnknownWord;

    fn try_from(given: String) -> Result<Self, UnknownWord> {
        given.parse()
    }
}

impl From<ProxyMode> for String {
    fn from(mode: ProxyMode) -> Self {
        mode.to_string()
    }
}

words!(
    /// How the udp backend moves packets.
    Datapath, "data path",
    /// The best that the kernel allows.
    Auto = "auto",
    /// Two programs in the kernel.
    Ebpf = "ebpf",
    /// User space, one packet per system call.
    Simple = "simple"
);
