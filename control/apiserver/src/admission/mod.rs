//! What of admission writes: quotas. What plugins decide, `control_core::admission` has; their chain runs in
//! [`crate::admit`].

pub mod quota;
