//! The parameters of a request, decoded and checked (`ListOptions`, `CreateOptions`, ... of `meta.k8s.io/v1`).
//!
//! Owns: which there are for which verb, and the original's refusals of what makes no sense.

use apiclient_core::selector::{FieldSelector, LabelSelector};
use apiclient_core::wire::Status;
use control_core::field::{Fault, FieldError, Path};
use control_core::refusal;
use serde_json::{Value, json};

use super::query::{self, Query};
use super::selectors;

/// The group of the options' kinds, as refusals name it.
const GROUP: &str = "meta.k8s.io";

/// For a list, a watch, and the deletion of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    pub watch: bool,
    pub bookmarks: bool,
    pub resource_version: String,
    pub version_match: String,
    /// 0: a watch ends by itself after half an hour to an hour.
    pub timeout_seconds: i64,
    /// 0: no limit.
    pub limit: i64,
    pub next: String,
    pub initial_events: Option<bool>,
}

impl ListOptions {
    /// `watch`: the request is one, whatever its parameters say.
    ///
    /// # Errors
    /// A parameter that cannot be decoded (400), or a combination that makes no sense (422).
    pub fn decode(query: &Query, watch: bool) -> Result<Self, Status> {
        let number = |name| query.number(name).map_err(refusal::bad_request);
        let mut options = Self {
            labels: selectors::labels(query.text("labelSelector")).map_err(refusal::bad_request)?,
            fields: selectors::fields(query.text("fieldSelector")).map_err(refusal::bad_request)?,
            watch: query.flag("watch").unwrap_or(false),
            bookmarks: query.flag("allowWatchBookmarks").unwrap_or(false),
            resource_version: query.text("resourceVersion").to_owned(),
            version_match: query.text("resourceVersionMatch").to_owned(),
            timeout_seconds: number("timeoutSeconds")?.unwrap_or(0),
            limit: number("limit")?.unwrap_or(0),
            next: query.text("continue").to_owned(),
            initial_events: query.flag("sendInitialEvents"),
        };
        let legacy = matches!(options.resource_version.as_str(), "" | "0");
        if options.initial_events.is_none() && options.version_match.is_empty() && options.watch && legacy {
            options.initial_events = Some(true);
            NOT_OLDER.clone_into(&mut options.version_match);
        }
        let faults = if options.watch { options.faults_of_watch() } else { options.faults_of_list() };
        refuse("ListOptions", &faults)?;
        options.watch |= watch;
        Ok(options)
    }

    fn faults_of_list(&self) -> Vec<FieldError> {
        let (of_match, mut faults) = (Path::new("resourceVersionMatch"), Vec::new());
        let chosen = self.version_match.as_str();
        if !chosen.is_empty() {
            if self.resource_version.is_empty() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                faults.push(FieldError::forbidden(&of_match, why));
            }
            if !self.next.is_empty() {
                faults.push(FieldError::forbidden(&of_match, WITH_CONTINUE));
            }
            if !matches!(chosen, EXACT | NOT_OLDER) {
                faults.push(unsupported(&of_match, chosen, &[EXACT, NOT_OLDER, ""]));
            }
            if chosen == EXACT && self.resource_version == "0" {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                faults.push(FieldError::forbidden(&of_match, why));
            }
        }
        if self.initial_events.is_some() {
            let why = "sendInitialEvents is forbidden for list";
            faults.push(FieldError::forbidden(&Path::new("sendInitialEvents"), why));
        }
        faults
    }

    fn faults_of_watch(&self) -> Vec<FieldError> {
        let (of_match, mut faults) = (Path::new("resourceVersionMatch"), Vec::new());
        let chosen = self.version_match.as_str();
        if self.initial_events.is_some() && chosen != NOT_OLDER {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            faults.push(FieldError::forbidden(&of_match, why));
        }
        if !chosen.is_empty() {
            if self.initial_events.is_none() {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                faults.push(FieldError::forbidden(&of_match, why));
            }
            if chosen != NOT_OLDER {
                faults.push(unsupported(&of_match, chosen, &[NOT_OLDER]));
            }
            if !self.next.is_empty() {
                faults.push(FieldError::forbidden(&of_match, WITH_CONTINUE));
            }
        }
        faults
    }
}

pub const EXACT: &str = "Exact";
pub const NOT_OLDER: &str = "NotOlderThan";
const WITH_CONTINUE: &str = "resourceVersionMatch is forbidden when continue is provided";

/// What happens to fields that are unknown, or stand twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// For create, update and patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    pub dry_run: bool,
    /// Empty: the program's name from `User-Agent`.
    pub manager: String,
    pub validation: FieldValidation,
    /// Only for patches, and there only for server-side apply.
    pub force: Option<bool>,
}

/// Which write the options are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Create,
    Update,
    Patch,
    Apply,
}

impl WriteOptions {
    /// # Errors
    /// 422 for values that are none.
    pub fn decode(query: &Query, write: Write) -> Result<Self, Status> {
        let manager = query.text("fieldManager");
        let force = query.flag("force").filter(|_| matches!(write, Write::Patch | Write::Apply));
        let mut faults = Vec::new();
        if write == Write::Apply && manager.is_empty() {
            let path = Path::new("fieldManager");
            faults.push(FieldError::required(&path, "is required for apply patch"));
        }
        if write == Write::Patch && force.is_some() {
            let why = "may not be specified for non-apply patch";
            faults.push(FieldError::forbidden(&Path::new("force"), why));
        }
        faults.extend(faults_of_manager(manager, &Path::new("fieldManager")));
        let dry_run: Vec<&str> = query.all("dryRun").collect();
        faults.extend(faults_of_dry_run(&dry_run));
        let validation = match query.text("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let known = ["", "Ignore", "Strict", "Warn"];
                faults.push(unsupported(&Path::new("fieldValidation"), other, &known));
                FieldValidation::Warn
            }
        };
        let kind = match write {
            Write::Create => "CreateOptions",
            Write::Update => "UpdateOptions",
            Write::Patch | Write::Apply => "PatchOptions",
        };
        refuse(kind, &faults)?;
        Ok(Self { dry_run: !dry_run.is_empty(), manager: manager.to_owned(), validation, force })
    }
}

/// For delete and deletecollection: from the body, or from the query where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    pub dry_run: bool,
    pub grace_seconds: Option<i64>,
    pub orphan: Option<bool>,
    pub propagation: Option<Propagation>,
    /// The object must have this uid.
    pub uid: Option<String>,
    /// The object must have this version.
    pub resource_version: Option<String>,
}

/// What becomes of an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
}

impl DeleteOptions {
    /// # Errors
    /// A parameter that cannot be decoded (400), or a value that is none (422).
    pub fn from_query(query: &Query) -> Result<Self, Status> {
        let mut body = json!({"dryRun": query.all("dryRun").collect::<Vec<_>>()});
        if let Some(seconds) = query.number("gracePeriodSeconds").map_err(refusal::bad_request)? {
            body["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(orphan) = query.flag("orphanDependents") {
            body["orphanDependents"] = orphan.into();
        }
        if let Some(policy) = query.get("propagationPolicy") {
            body["propagationPolicy"] = policy.into();
        }
        Self::from_object(&body)
    }

    /// `body` is a `DeleteOptions`, decoded by its schema.
    ///
    /// # Errors
    /// 422 for values that are none.
    pub fn from_object(body: &Value) -> Result<Self, Status> {
        let mut faults = Vec::new();
        let orphan = body["orphanDependents"].as_bool();
        let policy = body["propagationPolicy"].as_str();
        let of_policy = Path::new("propagationPolicy");
        if let (Some(_), Some(policy)) = (orphan, policy) {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            faults.push(FieldError::invalid(&of_policy, &policy.into(), why));
        }
        let propagation = match policy {
            None => None,
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some(other) => {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                faults.push(unsupported(&of_policy, other, &known));
                None
            }
        };
        let dry_run: Vec<&str> =
            body["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        faults.extend(faults_of_dry_run(&dry_run));
        refuse("DeleteOptions", &faults)?;
        let precondition = |name: &str| body["preconditions"][name].as_str().map(str::to_owned);
        Ok(Self {
            dry_run: !dry_run.is_empty(),
            grace_seconds: body["gracePeriodSeconds"].as_i64(),
            orphan,
            propagation,
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
        })
    }
}

/// What of an object a row of a table carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

impl IncludeObject {
    /// # Errors
    /// 400 for a value that is none.
    pub fn decode(query: &Query) -> Result<Self, Status> {
        match query.text("includeObject") {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => {
                let why = "must be 'Metadata', 'Object', 'None', or empty";
                let fault = FieldError::invalid(&Path::new("includeObject"), &other.into(), why);
                Err(refusal::bad_request(format!("Unable to convert to Table as requested: {fault}")))
            }
        }
    }
}

/// A resource version; 0 for the empty text.
///
/// # Errors
/// What the original says of one that is no number.
pub fn version(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    query::parse_uint(text).map_err(|why| format!("resourceVersion: Invalid value: {text:?}: {why}"))
}

fn refuse(kind: &str, faults: &[FieldError]) -> Result<(), Status> {
    if faults.is_empty() { Ok(()) } else { Err(refusal::invalid_kind(GROUP, kind, "", faults)) }
}

/// The supported values stay in the order in which the original names them.
fn unsupported(path: &Path, value: &str, known: &[&str]) -> FieldError {
    let known: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
    FieldError {
        fault: Fault::NotSupported,
        path: path.clone(),
        message: format!("Unsupported value: {value:?}: supported values: {}", known.join(", ")),
    }
}

fn faults_of_dry_run(values: &[&str]) -> Option<FieldError> {
    let known = values.iter().all(|value| *value == "All");
    (!known).then(|| FieldError::not_supported(&Path::new("dryRun"), &json!(values), &["All"]))
}

/// Longest name of a manager of fields, in bytes.
const MANAGER: usize = 128;

/// What is wrong with the name of a manager of fields.
pub fn faults_of_manager(manager: &str, path: &Path) -> Vec<FieldError> {
    let mut faults = Vec::new();
    if manager.len() > MANAGER {
        faults.push(FieldError::too_long(path, MANAGER));
    }
    for (at, letter) in manager.char_indices().filter(|(_, letter)| !is_print(*letter)) {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(letter));
        faults.push(FieldError::invalid(path, &manager.into(), &why));
    }
    faults
}

/// The manager of fields that a program is by its `User-Agent`.
pub fn manager_of_agent(agent: &str) -> String {
    let program = agent.split('/').next().unwrap_or_default();
    let mut manager = String::new();
    for letter in program.chars().filter(|letter| is_print(*letter)) {
        if manager.len() + letter.len_utf8() > MANAGER {
            break;
        }
        manager.push(letter);
    }
    manager
}

/// Letters, marks, numbers, punctuation, symbols, and the blank of ASCII, nearly as Go's `unicode.IsPrint`.
fn is_print(letter: char) -> bool {
    letter == ' ' || !(letter.is_control() || letter.is_whitespace() || letter == '\u{fffd}')
}

#[cfg(test)]
mod tests;
