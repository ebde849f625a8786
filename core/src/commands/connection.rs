//! Connection commands that need nothing but their arguments. Table first; handlers below in the same order.
//! Scripts: tests/scripts/connection.

use super::args::Args;
use super::{Arity, CommandSpec, Docs, Family, Flags, Group, Handler, Keys};
use crate::access::View;
use crate::error::Result;
use crate::reply::Reply;

pub(super) const FAMILY: Family = Family {
    group: Group::Connection,
    commands: &[
        CommandSpec {
            name: "ECHO",
            arity: Arity::Exactly(2),
            keys: Keys::None,
            flags: Flags::FAST,
            handler: Handler::Read(echo),
            docs: Docs {
                summary: "Returns the given string.",
                syntax: "message",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
        CommandSpec {
            name: "PING",
            arity: Arity::AtLeast(1),
            keys: Keys::None,
            flags: Flags::FAST,
            handler: Handler::Read(ping),
            docs: Docs {
                summary: "Returns the server's liveliness response.",
                syntax: "[message]",
                since: "1.0.0",
                complexity: "O(1)",
            },
        },
    ],
};

fn echo<'a>(_view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let message = args.bytes()?;
    args.end()?;
    Ok(Reply::bulk_owned(message))
}

fn ping<'a>(_view: &View<'a>, mut args: Args<'_>) -> Result<Reply<'a>> {
    let Some(message) = args.maybe() else { return Ok(Reply::status("PONG")) };
    args.end().map_err(|_| super::wrong_arity("ping"))?;
    Ok(Reply::bulk_owned(message))
}
