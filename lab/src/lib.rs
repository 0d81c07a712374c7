//! Many nodes on one machine: network namespaces joined by a virtual switch, each running the same
//! flanneld and the same service proxy that a real node would, with etcd beside them and pods behind them.
//!
//! Owns: the namespaces `weft-NAME-*`, everything that runs in them, and `/run/weft/lab/NAME`.
//! Begin at [`spec::Spec`] (what a lab is), [`plan::Plan`] (what is made for it, pure) and [`Lab`] (the thing itself).
//! Never: touches a link, address, route or rule of the machine's own namespace.
//!
//! ```no_run
//! use lab::{Lab, Quiet, Spec, spec::Backend};
//! # fn main() -> Result<(), lab::LabError> {
//! let spec = Spec { nodes: 2, backend: Backend::Vxlan, ..Spec::named("demo")? };
//! let lab = Lab::up(&spec, &mut Quiet)?;
//! println!("{}", lab.node("n1").run(["ip", "route"])?);
//! lab.down()?;
//! # Ok(())
//! # }
//! ```

pub mod asking;
pub mod call;
pub mod check;
pub mod cli;
pub mod down;
pub mod error;
pub mod etcd;
pub mod fake;
pub mod flanneld;
pub mod fleet;
mod lab;
pub mod measure;
pub mod name;
pub mod node;
pub mod plan;
pub mod progress;
pub mod proxy;
pub mod scratch;
pub mod services;
pub mod signals;
pub mod spec;
pub mod state;
pub mod status;
pub mod summary;
pub mod table;
pub mod wire;
pub mod words;

pub use error::LabError;
pub use flanneld::{Binary, FlanneldOptions};
pub use host::programs::{Output, Signal};
pub use lab::Lab;
pub use name::LabName;
pub use node::{Node, Pod};
pub use progress::{Progress, Quiet};
pub use proxy::ProxyOptions;
pub use scratch::ScratchLab;
pub use spec::Spec;
pub use state::State;
