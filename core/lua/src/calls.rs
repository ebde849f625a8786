//! What `redis.*` asks of the core, and what it needs of Rust besides.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mlua::{Lua, MultiValue, Scope, Table, Value};
use steadfast_core::commands::{FAMILIES, GATEWAY_COMMANDS, is_container_of, lookup};
use steadfast_core::error::ReplyError;
use steadfast_core::reply::Reply;
use steadfast_core::script::{ScriptHost, sha1_hex};

use crate::meter::Meter;
use crate::{Refused, convert, numbers};

/// What a call of a command costs by itself.
const CALL_INSTRUCTIONS: u64 = 10;

/// Installs what needs no host. Answers whether the script sees replies as RESP3 has them.
pub(crate) fn install(
    lua: &Lua,
    functions: &Table,
    meter: &Rc<Meter>,
) -> mlua::Result<Rc<Cell<bool>>> {
    let counted = Rc::clone(meter);
    let sha1 = lua.create_function(move |lua, words: MultiValue| {
        let [text] = words.as_slices().0 else {
            return Err(refused(ReplyError::fixed("ERR wrong number of arguments")));
        };
        let text = lua.coerce_string(text.clone())?;
        let text = text.map(|text| text.as_bytes().to_vec()).unwrap_or_default();
        counted.use_up_bytes(text.len())?;
        lua.create_string(sha1_hex(&text))
    })?;
    functions.set("sha1hex", sha1)?;
    let counted = Rc::clone(meter);
    let error_text = lua.create_function(move |lua, text: mlua::LuaString| {
        counted.use_up_bytes(text.as_bytes().len())?;
        lua.create_string(convert::error_text(&text.as_bytes()))
    })?;
    functions.set("error_text", error_text)?;
    let counted = Rc::clone(meter);
    let acl_check = lua.create_function(move |_, words: MultiValue| {
        let argv = argv(&words, &counted)?;
        let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        if is_known(&argv) {
            return Ok(true);
        }
        Err(refused(ReplyError::fixed("ERR Invalid command passed to redis.acl_check_cmd()")))
    })?;
    functions.set("acl_check_cmd", acl_check)?;
    let resp3 = Rc::new(Cell::new(false));
    let chosen = Rc::clone(&resp3);
    let setresp = lua.create_function(move |_, version: i64| {
        chosen.set(version == 3);
        Ok(())
    })?;
    functions.set("setresp", setresp)?;
    Ok(resp3)
}

/// Installs `redis.call` and `redis.pcall`.
pub(crate) fn install_calls<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    functions: &Table,
    (meter, resp3): (&'env Rc<Meter>, &'env Rc<Cell<bool>>),
    host: &'env RefCell<&mut dyn ScriptHost>,
) -> mlua::Result<()> {
    let run = move |words: &MultiValue| -> mlua::Result<Reply<'static>> {
        meter.use_up(CALL_INSTRUCTIONS)?;
        let argv = argv(words, meter)?;
        let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        Ok(host.borrow_mut().call(&argv))
    };
    let call = scope.create_function(move |lua, words: MultiValue| match run(&words)? {
        Reply::Error(error) => Err(refused(error)),
        reply => convert::to_lua(lua, &reply, resp3.get(), meter),
    })?;
    functions.set("call", call)?;
    let pcall = scope.create_function(move |lua, words: MultiValue| match run(&words) {
        Err(error) => match error.downcast_ref::<Refused>() {
            Some(refused) => convert::error_table(lua, &refused.0),
            None => Err(error),
        },
        Ok(reply) => convert::to_lua(lua, &reply, resp3.get(), meter),
    })?;
    functions.set("pcall", pcall)
}

fn refused(error: ReplyError) -> mlua::Error {
    mlua::Error::external(Refused(error))
}

/// Whether Redis would find this command. Without users that may not do everything, all may run it.
fn is_known(argv: &[&[u8]]) -> bool {
    let Some(name) = argv.first() else { return false };
    let specs = || FAMILIES.iter().flat_map(|family| family.commands);
    if specs().any(|spec| is_container_of(spec.name, name)) {
        return match argv.get(1) {
            Some(sub) => lookup(&[name, &b"|"[..], sub].concat()).is_some(),
            None => true,
        };
    }
    let own = || GATEWAY_COMMANDS.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name));
    lookup(name).is_some_and(|spec| !spec.name.contains('|')) || own()
}

/// The words of a command, as `redis.call` or `redis.pcall` was given them.
fn argv(words: &MultiValue, meter: &Meter) -> mlua::Result<Vec<Vec<u8>>> {
    if words.is_empty() {
        let text = "ERR Please specify at least one argument for this redis lib call";
        return Err(refused(ReplyError::fixed(text)));
    }
    let mut argv: Vec<Vec<u8>> = Vec::with_capacity(words.len());
    let mut bytes = 0;
    for word in words {
        argv.push(match word {
            Value::String(text) => {
                let text = text.as_bytes();
                bytes += text.len();
                meter.check_size(bytes)?;
                text.to_vec()
            }
            Value::Integer(number) => numbers::print_general(*number as f64, 17).into_bytes(),
            Value::Number(number) => numbers::print_general(*number, 17).into_bytes(),
            _ => {
                return Err(refused(ReplyError::fixed(
                    "ERR Lua redis lib command arguments must be strings or integers",
                )));
            }
        });
    }
    meter.use_up_bytes(bytes)?;
    Ok(argv)
}
