//! What a decision consists of: writes, in their order, and what is told about them.

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use serde_json::Value;

use crate::{Kind, object};

/// A write to the server.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A new object with a name of its own, so that it is made once, however often it is asked for.
    Create { object: Value },
    /// The whole object, or its `status` where `part` says so; its version must be the current one.
    Update { part: &'static str, object: Value },
    /// A merge patch (RFC 7386) of an object or a part of it. Versions and uids that must hold are in the patch.
    Merge { name: ObjectName, part: &'static str, patch: Value },
    /// A strategic merge patch, as [`Write::Merge`].
    Strategic { name: ObjectName, part: &'static str, patch: Value },
    /// `options` is a `DeleteOptions`; a precondition names the uid.
    Delete { name: ObjectName, options: Value },
    /// Whatever else has a path of its own, such as a Binding or an eviction.
    Post { name: ObjectName, part: &'static str, object: Value },
}

/// Something for `kubectl get events`, in the original's words.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub kind: Kind,
    /// The object that it is about: its metadata is enough.
    pub about: Arc<Value>,
    pub warning: bool,
    pub reason: &'static str,
    pub text: String,
}

/// A write, and what is told of its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    pub kind: Kind,
    pub write: Write,
    /// An object that must be there and not be going, by the server's own word, right before the write: nobody may
    /// adopt for an owner that is no more.
    pub alive: Option<(Kind, Arc<Value>)>,
    /// An object, of this uid where one is given, that must not be there, by the server's own word: what depends on it is
    /// not deleted because the news of it are late.
    pub absent: Option<(Kind, ObjectName, String)>,
    /// A claim that no pod on a node may use, by the server's own word.
    pub unused: Option<Arc<Value>>,
    /// A SubjectAccessReview that the server must answer with yes: what is done for who asks is what he may do himself.
    pub allowed: Option<Value>,
    pub done: Option<Note>,
    /// The refusal's own text follows this one's.
    pub refused: Option<Note>,
}

/// Acts that do not wait for each other. The next stage begins when all of them are done.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    All(Vec<Act>),
    /// One, then two, then four: a refusal of the first is not repeated for thousands (the original's slow start).
    Growing(Vec<Act>),
    /// Tells, and writes nothing.
    Tell(Note),
}

impl Act {
    pub fn new(kind: Kind, write: Write) -> Self {
        Self {
            kind,
            write,
            alive: None,
            absent: None,
            unused: None,
            allowed: None,
            done: None,
            refused: None,
        }
    }

    pub fn create(kind: Kind, object: Value) -> Self {
        Self::new(kind, Write::Create { object })
    }

    pub fn update(kind: Kind, object: Value) -> Self {
        Self::new(kind, Write::Update { part: "", object })
    }

    pub fn status(kind: Kind, object: Value) -> Self {
        Self::new(kind, Write::Update { part: "status", object })
    }

    /// Of this object and no later one of its name.
    pub fn delete(kind: Kind, object: &Value) -> Self {
        let options = serde_json::json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": object::uid(object)},
        });
        Self::new(kind, Write::Delete { name: object::key(object), options })
    }

    #[must_use]
    pub fn while_alive(mut self, kind: Kind, owner: &Arc<Value>) -> Self {
        self.alive = Some((kind, Arc::clone(owner)));
        self
    }

    /// `uid` may be empty: then any object of the name counts.
    #[must_use]
    pub fn while_absent(mut self, kind: Kind, name: ObjectName, uid: &str) -> Self {
        self.absent = Some((kind, name, uid.to_owned()));
        self
    }

    #[must_use]
    pub fn while_unused(mut self, claim: &Arc<Value>) -> Self {
        self.unused = Some(Arc::clone(claim));
        self
    }

    #[must_use]
    pub fn while_allowed(mut self, review: Value) -> Self {
        self.allowed = Some(review);
        self
    }

    #[must_use]
    pub fn telling(mut self, done: Note) -> Self {
        self.done = Some(done);
        self
    }

    #[must_use]
    pub fn telling_refusals(mut self, refused: Note) -> Self {
        self.refused = Some(refused);
        self
    }

    /// The object that is written.
    pub fn target(&self) -> ObjectName {
        match &self.write {
            Write::Create { object } | Write::Update { object, .. } => object::key(object),
            Write::Merge { name, .. }
            | Write::Strategic { name, .. }
            | Write::Delete { name, .. }
            | Write::Post { name, .. } => name.clone(),
        }
    }
}

impl Note {
    pub fn normal(kind: Kind, about: &Arc<Value>, reason: &'static str, text: impl Into<String>) -> Self {
        Self { kind, about: Arc::clone(about), warning: false, reason, text: text.into() }
    }

    pub fn warning(kind: Kind, about: &Arc<Value>, reason: &'static str, text: impl Into<String>) -> Self {
        Self { warning: true, ..Self::normal(kind, about, reason, text) }
    }
}
