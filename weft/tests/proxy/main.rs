//! `weft proxy` and its tools, as a user runs them. Needs root, but for the tools that read files.

mod bad_days;
mod contest;
mod daemon;
mod families;
mod flows;
mod iptables;
mod leftovers;
mod switch;
mod testbed;
mod tools;
mod traffic;
