//! The keys of a broker that tests are written against (docs/TEST_API.md).

use super::super::ClockKind;
use super::super::values::{boolean, number};
use super::{Key, key, maybe, one, path, path_of, put, some, take};
use crate::broker::journal::Lint;

pub(super) const TESTING: &[Key] = &[
    key(
        "test_api",
        "Whether /api/test is served, which moves time, injects faults and tells what has become of each message: for tests, never \
         where anybody else has messages.",
        |c, _, v| put(&mut c.testing.api, boolean(v)),
        |c| one(c.testing.api),
    ),
    key(
        "test_fail_on",
        "What makes the process end with exit code 3 and a report when it stops, as a list with commas between: `leaks`, `deprecated`, \
         `unroutable`, `never-consumed`, `no-prefetch`, `unacked`, `unknown-tag`, `errors`.",
        |c, _, v| {
            let groups: Vec<String> = v.split(',').map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned).collect();
            match groups.iter().find(|group| !Lint::GROUPS.contains(&group.as_str())) {
                Some(unknown) => Err(format!("'{unknown}' is none of {}", Lint::GROUPS.join(", "))),
                None => take(&mut c.testing.fail_on, groups),
            }
        },
        |c| maybe((!c.testing.fail_on.is_empty()).then(|| c.testing.fail_on.join(","))),
    ),
    key(
        "clock",
        "Whose time messages and queues live in: `real`, or `virtual`, which stands still until /api/test moves it.",
        |c, _, v| match v {
            "real" => take(&mut c.testing.clock, ClockKind::Real),
            "virtual" => take(&mut c.testing.clock, ClockKind::Virtual),
            _ => Err(format!("'{v}' is neither real nor virtual")),
        },
        |c| match c.testing.clock {
            ClockKind::Real => one("real"),
            ClockKind::Virtual => one("virtual"),
        },
    ),
    key(
        "seed",
        "A number that decides the names which the broker makes, such as those of queues: the same ones at each start.",
        |c, _, v| some(&mut c.testing.seed, number(v)),
        |c| maybe(c.testing.seed),
    ),
    key(
        "faults",
        "File of rules for faults that are there from the start, as JSON (docs/TEST_API.md).",
        |c, _, v| path(&mut c.testing.faults, v),
        |c| path_of(c.testing.faults.as_ref()),
    ),
    key(
        "test_vhosts.pattern",
        "With `test_api`: virtual hosts with such names, in which `*` stands for anything, are made when somebody opens them, and go with \
         their last connection.",
        |c, _, v| some(&mut c.testing.vhosts, Ok(v.to_owned())),
        |c| maybe(c.testing.vhosts.as_ref()),
    ),
    key(
        "test_vhosts.template",
        "The virtual host that these begin as copies of; empty where nothing is said.",
        |c, _, v| some(&mut c.testing.vhost_template, Ok(v.to_owned())),
        |c| maybe(c.testing.vhost_template.as_ref()),
    ),
];
