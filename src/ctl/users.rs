//! Users and their passwords.

use std::io::{BufRead, stdin};

use serde_json::{Value as Json, json};

use super::call::{Call, refused, write};
use super::failure::{DATA, Failure, SOFTWARE};
use super::format::{Kind, Rows, column};
use super::http::{Answer, segment};

pub(super) fn add_user(call: &mut Call) -> Result<(), Failure> {
    let user = named(call)?;
    call.banner(format!("Adding user \"{user}\" ..."));
    let password = password(call)?;
    let answer = call.send("POST", &control(&user), Some(&json!({"password": password})))?;
    if answer.status == 409 {
        return Err(Failure::error(SOFTWARE, format!("User \"{user}\" already exists")));
    }
    refused(&answer)?;
    call.banner(
        "Done. Don't forget to grant the user permissions to some virtual hosts! See 'rabbitmqctl help set_permissions' to learn more.",
    );
    Ok(())
}

pub(super) fn authenticate_user(call: &mut Call) -> Result<(), Failure> {
    let user = named(call)?;
    call.banner(format!("Authenticating user \"{user}\" ..."));
    let password = password(call)?;
    let answer = call.send("POST", "/api/leveret/authenticate", Some(&json!({"user": user, "password": password})))?;
    if answer.status == 401 {
        let text = format!("Error: failed to authenticate user \"{user}\"\nuser '{user}' - invalid credentials");
        return Err(Failure::error(DATA, text));
    }
    refused(&answer)?;
    call.line("Success");
    Ok(())
}

pub(super) fn change_password(call: &mut Call) -> Result<(), Failure> {
    let user = named(call)?;
    call.banner(format!("Changing password for user \"{user}\" ..."));
    let password = password(call)?;
    change(call, &user, &json!({"password": password}))
}

pub(super) fn clear_password(call: &mut Call) -> Result<(), Failure> {
    let user = named(call)?;
    call.banner(format!("Clearing password for user \"{user}\" ..."));
    change(call, &user, &json!({"password": null}))
}

pub(super) fn set_user_tags(call: &mut Call) -> Result<(), Failure> {
    let user = named(call)?;
    // Older tools took one word of several tags.
    let tags: Vec<&str> = call.words()[1..].iter().flat_map(|word| word.split(',')).filter(|tag| !tag.is_empty()).collect();
    let body = json!({"tags": tags});
    call.banner(format!("Setting tags for user \"{user}\" to [{}] ...", tags.join(", ")));
    change(call, &user, &body)
}

pub(super) fn delete_user(call: &mut Call) -> Result<(), Failure> {
    let user = named(call)?;
    call.banner(format!("Deleting user \"{user}\" ..."));
    let answer = call.send("DELETE", &format!("/api/users/{}", segment(&user)), None)?;
    known(&answer, &user)
}

pub(super) fn list_users(call: &mut Call) -> Result<(), Failure> {
    call.banner("Listing users ...");
    let users = call.get("/api/users")?;
    let rows = users.as_array().into_iter().flatten().map(|user| vec![user["name"].clone(), user["tags"].clone()]).collect();
    call.rows(&Rows { columns: vec![column("user", Kind::Plain), column("tags", Kind::Tags)], rows });
    Ok(())
}

pub(super) fn hash_password(call: &mut Call) -> Result<(), Failure> {
    call.banner("Will hash password ...");
    let answer = call.get(&format!("/api/auth/hash_password/{}", segment(call.word(0))))?;
    call.line(answer["ok"].as_str().unwrap_or_default());
    Ok(())
}

fn control(user: &str) -> String {
    format!("/api/leveret/users/{}", segment(user))
}

fn change(call: &mut Call, user: &str, body: &Json) -> Result<(), Failure> {
    let answer = call.send("PUT", &control(user), Some(body))?;
    known(&answer, user)
}

fn known(answer: &Answer, user: &str) -> Result<(), Failure> {
    if answer.status == 404 { Err(Failure::no_user(user)) } else { refused(answer) }
}

fn named(call: &Call) -> Result<String, Failure> {
    if call.word(0).is_empty() { Err(Failure::bad_argument("user cannot be an empty string")) } else { Ok(call.word(0).to_owned()) }
}

/// The second word, or else a line of standard input: command lines are for all to see.
fn password(call: &Call) -> Result<String, Failure> {
    if let Some(password) = call.words().get(1) {
        return if password.is_empty() { Err(Failure::bad_argument("password cannot be an empty string")) } else { Ok(password.clone()) };
    }
    write("Password: \n");
    let mut line = String::new();
    let read = stdin().lock().read_line(&mut line);
    match (read, line.trim_end_matches(['\n', '\r'])) {
        (Ok(_), "") => Err(Failure::bad_argument("password cannot be an empty string")),
        (Ok(_), password) => Ok(password.to_owned()),
        (Err(error), _) => Err(Failure::error(DATA, format!("cannot read the password: {error}"))),
    }
}
