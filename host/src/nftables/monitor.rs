//! Events: who changed which tables.

use std::collections::{BTreeSet, VecDeque};
use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket, AsyncSocketExt, TokioSocket};
use nix::sys::socket::{setsockopt, sockopt};

use super::family::Family;
use super::message::kind_of;
use super::numbers::{any, generation, message};
use super::object::TableId;
use super::writer::Writer;
use crate::error::HostError;
use crate::wire::{Message, Messages};

/// `NFNLGRP_NFTABLES` of linux/netfilter/nfnetlink.h
const GROUP: u32 = 7;
/// A transaction of 30,000 elements announces each.
const BACKLOG: usize = 8 << 20;
const DATAGRAM: usize = 64 << 10;

/// A finished transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The ruleset's new generation.
    pub generation: u32,
    /// The netlink port of the socket that made it: ours are told by [`super::Nftables::port`].
    pub port: u32,
    pub writer: Writer,
    /// The tables with a change in them.
    pub tables: BTreeSet<TableId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Changed(Change),
    /// Events were lost: whatever may have changed.
    Lost,
}

/// Receives events of the network namespace in which it was opened.
pub struct Monitor {
    socket: TokioSocket,
    buffer: Vec<u8>,
    /// Of a transaction whose end has not come yet.
    tables: BTreeSet<TableId>,
    ready: VecDeque<Event>,
}

impl Monitor {
    /// Opens a socket in the network namespace of this thread; has to be called within a tokio runtime.
    pub fn open() -> Result<Self, HostError> {
        let open = || -> io::Result<TokioSocket> {
            let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
            socket.socket_mut().bind_auto()?;
            socket.socket_ref().add_membership(GROUP)?;
            Ok(socket)
        };
        let socket = open().map_err(failed)?;
        // Without the privilege the default stays, and an overrun is told as such.
        let _ = setsockopt(socket.socket_ref(), sockopt::RcvBufForce, &BACKLOG);
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(DATAGRAM),
            tables: BTreeSet::new(),
            ready: VecDeque::new(),
        })
    }

    /// The next event. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Event, HostError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer).await {
                Ok(()) => self.digest(),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(self.start_over()),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// The next event, if there is one already. A transaction that has been carried out is there.
    pub fn ready(&mut self) -> Result<Option<Event>, HostError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            self.buffer.clear();
            match self.socket.socket_ref().recv(&mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(_) => self.digest(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Some(self.start_over()));
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Throws away what is left from before the loss. The kernel tells of a loss once, and then drops in
    /// silence until the queue has been empty: only from there on is every event either received or told as lost.
    fn start_over(&mut self) -> Event {
        loop {
            self.buffer.clear();
            match self.socket.socket_ref().recv(&mut self.buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(_) => break,
            }
        }
        self.tables.clear();
        self.ready.clear();
        Event::Lost
    }

    fn digest(&mut self) {
        for message in Messages(&self.buffer) {
            match kind_of(&message.header) {
                // The last message of a transaction.
                Some(message::NEWGEN) => {
                    let tables = std::mem::take(&mut self.tables);
                    self.ready.push_back(Event::Changed(change(message, tables)));
                }
                Some(_) => self.tables.extend(touched(message)),
                None => {}
            }
        }
    }
}

fn change(message: Message, tables: BTreeSet<TableId>) -> Change {
    let a = message.attrs();
    Change {
        generation: a.u32(generation::ID).unwrap_or(0),
        port: message.port,
        writer: Writer {
            pid: a.u32(generation::PID).unwrap_or(0),
            name: a.string(generation::NAME).unwrap_or_default(),
        },
        tables,
    }
}

/// Every message names its table first.
fn touched(message: Message) -> Option<TableId> {
    Some(TableId {
        family: Family::from_code(message.header.family)?,
        name: message.attrs().string(any::TABLE)?,
    })
}

fn failed(source: io::Error) -> HostError {
    HostError::Io { op: "watch", object: "nftables".to_owned(), source }
}
