//! What a controller is to the loop that runs all of them.

use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;

use crate::{Act, Change, Kind, Stage, World};

/// The account of a controller that acts as the controller manager itself: it has no service account of its own.
pub const MANAGER: &str = "kube-controller-manager";

/// One controller: which objects matter to it, and what it wants written. All of it is pure: the same world, key and
/// context, the same decision.
pub trait Controller: Send + Sync {
    /// As `--controllers` names it.
    fn name(&self) -> &'static str;

    /// As `source.component` of its events and its service account name it.
    fn account(&self) -> &'static str {
        self.name()
    }

    /// The kinds that it sees. It decides nothing before all of them are known.
    fn follows(&self) -> &[Kind];

    /// The keys that a change may matter to.
    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>);

    /// What is to be written about a key. An empty decision means that all is as it should be.
    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision;

    /// What is to be written once the server has refused an act; the key is then decided again after a while.
    fn refused(&self, _: &World, _: &ObjectName, _: &Context, _: &Refused<'_>) -> Vec<Act> {
        Vec::new()
    }
}

/// What a decision may depend on besides objects.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    pub now: SystemTime,
    /// Another one for each decision: what chance decides comes from it.
    pub seed: u64,
}

/// What is to be done about a key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// One after the other; a refusal ends them.
    pub stages: Vec<Stage>,
    /// When to look again even if nothing changes.
    pub again: Option<Duration>,
}

/// An act that the server has refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    pub act: &'a Act,
    /// HTTP status code.
    pub code: u16,
    pub reason: &'a str,
    pub message: &'a str,
}

impl Decision {
    pub fn nothing() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn then(mut self, act: Act) -> Self {
        self.stages.push(Stage::All(vec![act]));
        self
    }

    /// Without acts there is no stage.
    #[must_use]
    pub fn all(mut self, acts: Vec<Act>) -> Self {
        if !acts.is_empty() {
            self.stages.push(Stage::All(acts));
        }
        self
    }

    /// The sooner of two times to look again.
    #[must_use]
    pub fn again_in(mut self, wait: Duration) -> Self {
        self.again = Some(self.again.map_or(wait, |before| before.min(wait)));
        self
    }
}

/// Letters of which no word is made, as the original's names end in.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

impl Context {
    /// The end of a generated name: five characters, another for each `nth` and each decision.
    pub fn suffix(&self, nth: usize) -> String {
        // SplitMix64: every input has an output of its own.
        let mut mixed = self.seed.wrapping_add(
            u64::try_from(nth).unwrap_or(u64::MAX).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        );
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let mut suffix = String::with_capacity(5);
        for _ in 0..5 {
            suffix.push(char::from(ALPHABET[(mixed % 27) as usize]));
            mixed /= 27;
        }
        suffix
    }

    /// A name for the `nth` object that a decision makes: as the server makes one of a `generateName`, which holds
    /// a name to 63 characters.
    pub fn generated(&self, base: &str, nth: usize) -> String {
        let kept = base.floor_char_boundary(58);
        format!("{}{}", &base[..kept], self.suffix(nth))
    }
}
