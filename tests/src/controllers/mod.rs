//! Stories of a cluster, told to our control plane and to the originals' controllers and scheduler on the same server.
//!
//! Owns: the two clusters ([`Cluster`]), what is done to them ([`story`]: data in `tests/controllers`), and what of the end
//! must differ and is taken out ([`normal`]). Begin at [`story::tell`]. The kubelets' part is played by `weft lab nodes`.

mod cluster;
pub mod normal;
pub mod story;

pub use cluster::{Cluster, Whose};
