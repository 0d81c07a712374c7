//! Which node a pod goes to: filters, scores, preemption, and the order of the queue.
//!
//! Owns: every decision of the scheduler, as functions of objects and time. Never: performs I/O, reads the clock.
