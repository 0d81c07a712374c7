//! The rules that a proxy would write, as text.

use super::World;
use crate::options::Options;

/// What the mode makes of the world on an empty kernel, both families. Needs no privilege and starts no program.
pub fn render(world: &World, options: &Options) -> String {
    options.mode.render(&world.table, options)
}
