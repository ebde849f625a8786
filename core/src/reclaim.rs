//! What has been deleted and is not freed yet: trees, and databases that were flushed. A million keys or members take long to free, and
//! no turn may take long: they are freed in steps, between turns. Nothing in here is part of the state, and nothing reads it.

use alloc::vec::Vec;

use crate::collections::Grave;
use crate::keyspace::Database;

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    pub(crate) grave: Grave,
    databases: Vec<Database>,
}

impl Reclaim {
    /// Takes a database that nobody needs any more.
    pub(crate) fn raze(&mut self, database: Database) {
        self.databases.push(database);
    }

    /// Frees what is small at once.
    pub(crate) fn settle(&mut self) {
        self.grave.settle();
    }

    /// Frees about so many `units` (a key, or a node of a tree); whether nothing is left.
    pub(crate) fn step(&mut self, units: usize) -> bool {
        if let Some(database) = self.databases.last_mut()
            && database.free_piece(units, &mut self.grave)
        {
            self.databases.pop();
        }
        self.grave.step(units) && self.databases.is_empty()
    }
}
