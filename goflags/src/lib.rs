//! The one engine for flags and configuration files of programs that speak a Go program's.
//!
//! Owns: the two syntaxes of flags ([`Syntax`]), the kinds of values ([`Kind`]), what wins over what
//! ([`Program::settle`]), the reading of a configuration file against its fields, refusals and remarks, and the layout of
//! a help text. A program hands in its tables as one [`Program`] and makes its own options of the [`Settings`].
//! Pure: variables come through [`Env`], a file comes as values that somebody else has read and parsed.
//! Never: knows a flag, or what a value is for.
//!
//! ```
//! use goflags::{Flag, Kind, Parsed, Program, Syntax};
//!
//! static PROGRAM: Program = Program {
//!     name: "greeter",
//!     command: "greeter",
//!     syntax: Syntax::Pflag,
//!     env_prefix: Some("GREETER"),
//!     flags: &[Flag::new("whom", Kind::List, "world", "Greetings").help("Whom to greet.")],
//!     groups: &["Greetings"],
//!     idle_group: None,
//!     file: None,
//!     refused: &[],
//!     synopsis: "greeter greets.\n",
//!     examples: "",
//! };
//!
//! let Parsed::Given(given) = PROGRAM.parse(&["--whom=a,b", "--whom", "c"]).unwrap() else { panic!("no help asked") };
//! let settings = PROGRAM.settle(&given, &[("GREETER_WHOM", "d")], None).unwrap();
//! assert_eq!(settings.get("whom").list().collect::<Vec<_>>(), ["a", "b", "c"]);
//! ```

mod document;
pub mod duration;
mod env;
mod error;
mod help;
mod kind;
mod nearest;
mod parse;
mod remarks;
mod settings;
mod table;
pub mod words;

pub use env::{Env, NoEnv, ProcessEnv};
pub use error::Error;
pub use kind::Kind;
pub use nearest::nearest;
pub use parse::{Given, Parsed};
pub use settings::{Setting, Settings, Source};
pub use table::{Field, File, Flag, Former, Program, Refused, Syntax, joined};
