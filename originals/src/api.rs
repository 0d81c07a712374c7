//! A client of the API server: objects as JSON.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::kinds::Identity;
use crate::wire::Connection;
use host::programs::ProgramError;

/// What the server said.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Speaks to one server as one user, over one connection; threads take turns.
pub struct Api {
    connection: Mutex<Connection>,
    token: String,
    server: String,
}

impl Api {
    pub(super) fn new(connection: Connection, server: String, token: &str) -> Self {
        Self { connection: Mutex::new(connection), token: token.to_owned(), server }
    }

    /// Any request, whatever the answer.
    ///
    /// # Errors
    /// The server is not reached.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, ProgramError> {
        self.send(method, path, "application/json", body)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ProgramError> {
        let token = &self.token;
        let headers =
            format!("Authorization: Bearer {token}\r\nContent-Type: {kind}\r\nAccept: application/json\r\n");
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, body) = connection
            .ask(method, path, &headers, body.as_bytes())
            .map_err(|error| self.failed(method, path, error.to_string()))?;
        Ok(Answer { status, body })
    }

    /// Any request that has to succeed; gives the body.
    ///
    /// # Errors
    /// The server is not reached, or refuses.
    pub fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, ProgramError> {
        self.checked(method, path, self.ask(method, path, body)?)
    }

    /// Makes an object, or puts it in the place of the one of its name. `default` is its namespace where it names
    /// none; namespaces need not exist.
    ///
    /// # Errors
    /// The server is not reached, or refuses the object.
    pub fn apply(&self, object: &Value) -> Result<Value, ProgramError> {
        let identity = Identity::of(object)?;
        let collection = identity.collection();
        let answer = self.ask("POST", &collection, Some(object))?;
        if answer.status != 409 {
            return self.checked("POST", &collection, answer);
        }
        self.must("PUT", &identity.path(), Some(object))
    }

    /// The object with this kind and these names, as the server has it now; None where it has none.
    ///
    /// # Errors
    /// The server is not reached.
    pub fn get(&self, object: &Value) -> Result<Option<Value>, ProgramError> {
        let path = Identity::of(object)?.path();
        let answer = self.ask("GET", &path, None)?;
        if answer.status == 404 { Ok(None) } else { self.checked("GET", &path, answer).map(Some) }
    }

    /// Changes a part of an object, by an RFC 7386 merge patch.
    ///
    /// # Errors
    /// There is no such object, or the server refuses.
    pub fn merge(&self, object: &Value, patch: &Value) -> Result<Value, ProgramError> {
        let path = Identity::of(object)?.path();
        let answer = self.send("PATCH", &path, "application/merge-patch+json", Some(patch))?;
        self.checked("PATCH", &path, answer)
    }

    /// The same of its status: addresses of a Node, of a load balancer.
    ///
    /// # Errors
    /// As [`Api::merge`].
    pub fn merge_status(&self, object: &Value, patch: &Value) -> Result<Value, ProgramError> {
        let path = format!("{}/status", Identity::of(object)?.path());
        let answer = self.send("PATCH", &path, "application/merge-patch+json", Some(patch))?;
        self.checked("PATCH", &path, answer)
    }

    /// Deletes the object with this kind and these names; says nothing where there is none.
    ///
    /// # Errors
    /// The server is not reached, or refuses.
    pub fn delete(&self, object: &Value) -> Result<(), ProgramError> {
        let path = Identity::of(object)?.path();
        let answer = self.ask("DELETE", &path, None)?;
        if answer.status == 404 { Ok(()) } else { self.checked("DELETE", &path, answer).map(drop) }
    }

    fn checked(&self, method: &str, path: &str, answer: Answer) -> Result<Value, ProgramError> {
        if answer.is_ok() {
            return Ok(answer.json());
        }
        Err(self.failed(method, path, format!("status {}: {}", answer.status, answer.text().trim())))
    }

    fn failed(&self, method: &str, path: &str, reason: String) -> ProgramError {
        ProgramError::Protocol { what: format!("{method} {}{path}", self.server), reason }
    }
}
