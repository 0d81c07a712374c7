//! etcd as the API server's storage, and the one in-memory view of it that lists and watches share.
//!
//! Owns: keys under the registry's prefix, revisions, consistent reads, watches that resume.
//! Never: decodes an object; what is in one, the caller says when it asks for a form of it.
