//! One-shot watches of the clients connected to one server.

use std::collections::{BTreeMap, BTreeSet};

use crate::systems::coordination::tree::Event;
use crate::systems::coordination::wire::EventKind;

/// A connection of a client to this server.
pub type LinkId = u64;

/// Who waits for what.
#[derive(Debug, Default)]
pub struct Watches {
    /// On a znode's data, or its existence.
    data: BTreeMap<String, BTreeSet<LinkId>>,
    /// On its children.
    children: BTreeMap<String, BTreeSet<LinkId>>,
}

impl Watches {
    /// Watches a znode's data or existence.
    pub fn watch_data(&mut self, path: &str, link: LinkId) {
        self.data.entry(path.to_owned()).or_default().insert(link);
    }

    /// Watches a znode's children.
    pub fn watch_children(&mut self, path: &str, link: LinkId) {
        self.children.entry(path.to_owned()).or_default().insert(link);
    }

    /// Takes away the watches that an event fires, and tells whose they are.
    pub fn fire(&mut self, event: &Event) -> BTreeSet<LinkId> {
        let (kind, path) = event;
        let mut fired = BTreeSet::new();
        if *kind != EventKind::ChildrenChanged {
            fired.extend(self.data.remove(path).unwrap_or_default());
        }
        if matches!(kind, EventKind::ChildrenChanged | EventKind::Deleted) {
            fired.extend(self.children.remove(path).unwrap_or_default());
        }
        fired
    }

    /// Forgets a connection that has ended.
    pub fn forget(&mut self, link: LinkId) {
        for table in [&mut self.data, &mut self.children] {
            table.retain(|_, links| {
                links.remove(&link);
                !links.is_empty()
            });
        }
    }
}
