//! The keys that are about tokens of OAuth 2: those of the resource server and the provider that have no names, then those of the others.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::super::authentication::safe_url;
use super::super::oauth2::{Aliases, NumberedAlias};
use super::super::syntax::segments;
use super::super::values::{boolean, number};
use super::super::{Config, OAuthProvider, ResourceServer};
use super::authentication::{verification, verify};
use super::{Key, alias, key, maybe, named, one, path, path_of, put, some, take, within};

pub(super) const OAUTH2: &[Key] = &[
    key(
        "auth_oauth2.resource_server_id",
        "What the broker is called in the audience of tokens, and in their scopes.",
        |c, _, v| text(&mut c.auth_oauth2.root.id, v),
        |c| maybe(c.auth_oauth2.root.id.as_ref()),
    ),
    key(
        "auth_oauth2.resource_server_type",
        "The type of what is meant for it in `authorization_details`.",
        |c, _, v| text(&mut c.auth_oauth2.root.resource_server_type, v),
        |c| maybe(c.auth_oauth2.root.resource_server_type.as_ref()),
    ),
    key(
        "auth_oauth2.scope_prefix",
        "What its scopes begin with; its name and a dot where this is not set.",
        |c, _, v| text(&mut c.auth_oauth2.root.scope_prefix, v),
        |c| maybe(c.auth_oauth2.root.scope_prefix.as_ref()),
    ),
    key(
        "auth_oauth2.additional_scopes_key",
        "Claims that have scopes beside `scope`, such as `roles` or `a.b`, with spaces between them.",
        |c, _, v| text(&mut c.auth_oauth2.root.additional_scopes_key, v),
        |c| maybe(c.auth_oauth2.root.additional_scopes_key.as_ref()),
    ),
    key(
        "auth_oauth2.scope_aliases.$alias",
        "The scopes that another name stands for, with spaces between them.",
        |c, name, v| insert(&mut c.auth_oauth2.root.scope_aliases.named, name, v),
        |c| named(&c.auth_oauth2.root.scope_aliases.named),
    ),
    key(
        "auth_oauth2.scope_aliases.$number.alias",
        "The same for names that cannot be part of a key: the name.",
        |c, place, v| text(&mut numbered(&mut c.auth_oauth2.root.scope_aliases, place).alias, v),
        |c| named(parts(&c.auth_oauth2.root.scope_aliases, |both| both.alias.as_ref())),
    ),
    key(
        "auth_oauth2.scope_aliases.$number.scope",
        "The scopes that it stands for.",
        |c, place, v| text(&mut numbered(&mut c.auth_oauth2.root.scope_aliases, place).scope, v),
        |c| named(parts(&c.auth_oauth2.root.scope_aliases, |both| both.scope.as_ref())),
    ),
    key(
        "auth_oauth2.preferred_username_claims.$number",
        "Claims that name the user, the first that is there; `sub` and `client_id` when none is named.",
        |c, place, v| claim(&mut c.auth_oauth2.root, place, v),
        |c| claims(&c.auth_oauth2.root).collect(),
    ),
    key(
        "auth_oauth2.verify_aud",
        "Whether tokens must have the broker in their audience (`aud`).",
        |c, _, v| some(&mut c.auth_oauth2.root.verify_aud, boolean(v)),
        |c| maybe(c.auth_oauth2.root.verify_aud),
    ),
    key(
        "auth_oauth2.require_exp",
        "Whether tokens must say when they expire (`exp`).",
        |c, _, v| put(&mut c.auth_oauth2.require_exp, boolean(v)),
        |c| one(c.auth_oauth2.require_exp),
    ),
    key(
        "auth_oauth2.default_oauth_provider",
        "Who of `oauth_providers` makes tokens where nobody is named; where this is not set, who has the keys that follow.",
        |c, _, v| text(&mut c.auth_oauth2.root.oauth_provider_id, v),
        |c| maybe(c.auth_oauth2.root.oauth_provider_id.as_ref()),
    ),
    key(
        "auth_oauth2.signing_keys.$name",
        "A file with a key that tokens may be signed with, by what they call it (`kid`): a public key or a certificate in PEM, or a JWK.",
        |c, name, v| insert(&mut c.auth_oauth2.provider.signing_keys, name, v),
        |c| named(c.auth_oauth2.provider.signing_keys.iter().map(|(name, path)| (name, path.display()))),
    ),
    key(
        "auth_oauth2.default_key",
        "The key of a token that names none.",
        |c, _, v| text(&mut c.auth_oauth2.provider.default_key, v),
        |c| maybe(c.auth_oauth2.provider.default_key.as_ref()),
    ),
    key(
        "auth_oauth2.algorithms.$number",
        "Algorithms of signatures: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`, `HS256`, `HS384`, \
         `HS512`. When none is named, all that go with the key.",
        |c, place, v| insert(&mut c.auth_oauth2.provider.algorithms, place, v),
        |c| named(&c.auth_oauth2.provider.algorithms),
    ),
    key(
        "auth_oauth2.jwks_url",
        "Where more keys are (a JWK set): https, or http on this machine. It is asked when a token names a key that is not known.",
        |c, _, v| some(&mut c.auth_oauth2.provider.jwks_url, safe_url(v)),
        |c| maybe(c.auth_oauth2.provider.jwks_url.as_ref()),
    ),
    alias("auth_oauth2.jwks_uri", "auth_oauth2.jwks_url", |c, _, v| some(&mut c.auth_oauth2.provider.jwks_url, safe_url(v))),
    key(
        "auth_oauth2.issuer",
        "Who knows where they are, where `jwks_url` is not set: asked by OpenID Connect's discovery.",
        |c, _, v| some(&mut c.auth_oauth2.provider.issuer, safe_url(v)),
        |c| maybe(c.auth_oauth2.provider.issuer.as_ref()),
    ),
    key(
        "auth_oauth2.discovery_endpoint_path",
        "Where the issuer is asked, behind its address.",
        |c, _, v| take(&mut c.auth_oauth2.provider.discovery_endpoint_path, v),
        |c| one(&c.auth_oauth2.provider.discovery_endpoint_path),
    ),
    key(
        "auth_oauth2.discovery_endpoint_params.$name",
        "With what in the query it is asked.",
        |c, name, v| insert(&mut c.auth_oauth2.provider.discovery_endpoint_params, name, v),
        |c| named(&c.auth_oauth2.provider.discovery_endpoint_params),
    ),
    key(
        "auth_oauth2.https.verify",
        "`verify_peer`: the certificates of both are checked. `verify_none`: they are not.",
        |c, _, v| verify(&mut c.auth_oauth2.provider.tls, v),
        |c| one(verification(&c.auth_oauth2.provider.tls)),
    ),
    alias("auth_oauth2.https.peer_verification", "auth_oauth2.https.verify", |c, _, v| verify(&mut c.auth_oauth2.provider.tls, v)),
    key(
        "auth_oauth2.https.cacertfile",
        "The authorities that may sign them: PEM. Those of the system when there are none.",
        |c, _, v| path(&mut c.auth_oauth2.provider.tls.cacertfile, v),
        |c| path_of(c.auth_oauth2.provider.tls.cacertfile.as_ref()),
    ),
];

pub(super) const RESOURCE_SERVERS: &[Key] = &[
    key(
        "auth_oauth2.resource_servers.$name.id",
        "Another name of the broker in the audience of tokens; `$name` where this is not set. What is not set behind `$name` either is as \
         it is set without `resource_servers.$name`.",
        |c, name, v| if v.is_empty() { Err("it is empty".to_owned()) } else { text(&mut server(c, name).id, v) },
        |c| servers(c, |server| server.id.as_ref()),
    ),
    key(
        "auth_oauth2.resource_servers.$name.resource_server_type",
        "The type of what is meant for it in `authorization_details`.",
        |c, name, v| text(&mut server(c, name).resource_server_type, v),
        |c| servers(c, |server| server.resource_server_type.as_ref()),
    ),
    key(
        "auth_oauth2.resource_servers.$name.scope_prefix",
        "What its scopes begin with; its `id` and a dot where there is no `auth_oauth2.scope_prefix` either.",
        |c, name, v| text(&mut server(c, name).scope_prefix, v),
        |c| servers(c, |server| server.scope_prefix.as_ref()),
    ),
    key(
        "auth_oauth2.resource_servers.$name.additional_scopes_key",
        "Claims that have scopes beside `scope` in its tokens.",
        |c, name, v| text(&mut server(c, name).additional_scopes_key, v),
        |c| servers(c, |server| server.additional_scopes_key.as_ref()),
    ),
    key(
        "auth_oauth2.resource_servers.$name.scope_aliases.$alias",
        "The scopes that another name stands for in them. Any of these keys takes the place of all `auth_oauth2.scope_aliases`.",
        |c, names, v| {
            let (name, alias) = two(names);
            insert(&mut server(c, &name).scope_aliases.named, &alias, v)
        },
        |c| inner(&c.auth_oauth2.resource_servers, |server| named(&server.scope_aliases.named)),
    ),
    key(
        "auth_oauth2.resource_servers.$name.scope_aliases.$number.alias",
        "The same for names that cannot be part of a key: the name.",
        |c, names, v| {
            let (name, place) = two(names);
            text(&mut numbered(&mut server(c, &name).scope_aliases, &place).alias, v)
        },
        |c| inner(&c.auth_oauth2.resource_servers, |server| named(parts(&server.scope_aliases, |both| both.alias.as_ref()))),
    ),
    key(
        "auth_oauth2.resource_servers.$name.scope_aliases.$number.scope",
        "The scopes that it stands for.",
        |c, names, v| {
            let (name, place) = two(names);
            text(&mut numbered(&mut server(c, &name).scope_aliases, &place).scope, v)
        },
        |c| inner(&c.auth_oauth2.resource_servers, |server| named(parts(&server.scope_aliases, |both| both.scope.as_ref()))),
    ),
    key(
        "auth_oauth2.resource_servers.$name.preferred_username_claims.$number",
        "Claims that name the user in its tokens. Any of these keys takes the place of all `auth_oauth2.preferred_username_claims`.",
        |c, names, v| {
            let (name, place) = two(names);
            claim(server(c, &name), &place, v)
        },
        |c| inner(&c.auth_oauth2.resource_servers, |server| claims(server).collect()),
    ),
    key(
        "auth_oauth2.resource_servers.$name.verify_aud",
        "Whether its tokens must have it in their audience. One that does not ask for it takes those that are for nobody else here.",
        |c, name, v| some(&mut server(c, name).verify_aud, boolean(v)),
        |c| servers(c, |server| server.verify_aud),
    ),
    key(
        "auth_oauth2.resource_servers.$name.oauth_provider_id",
        "Who of `oauth_providers` makes its tokens.",
        |c, name, v| text(&mut server(c, name).oauth_provider_id, v),
        |c| servers(c, |server| server.oauth_provider_id.as_ref()),
    ),
];

pub(super) const PROVIDERS: &[Key] = &[
    key(
        "auth_oauth2.oauth_providers.$name.signing_keys.$key",
        "A file with a key that this provider signs tokens with, as `auth_oauth2.signing_keys`. It has no keys but its own, and the other keys \
         behind `$name` are about it alone, too.",
        |c, names, v| {
            let (name, key) = two(names);
            insert(&mut provider(c, &name).signing_keys, &key, v)
        },
        |c| inner(&c.auth_oauth2.oauth_providers, |one| named(one.signing_keys.iter().map(|(name, path)| (name, path.display())))),
    ),
    key(
        "auth_oauth2.oauth_providers.$name.default_key",
        "The key of a token that names none.",
        |c, name, v| text(&mut provider(c, name).default_key, v),
        |c| providers(c, |one| one.default_key.as_ref()),
    ),
    key(
        "auth_oauth2.oauth_providers.$name.algorithms.$number",
        "Algorithms of its signatures. When none is named, all that go with the key.",
        |c, names, v| {
            let (name, place) = two(names);
            insert(&mut provider(c, &name).algorithms, &place, v)
        },
        |c| inner(&c.auth_oauth2.oauth_providers, |one| named(&one.algorithms)),
    ),
    key(
        "auth_oauth2.oauth_providers.$name.jwks_uri",
        "Where more keys are (a JWK set): https, or http on this machine.",
        |c, name, v| some(&mut provider(c, name).jwks_url, safe_url(v)),
        |c| providers(c, |one| one.jwks_url.as_ref()),
    ),
    alias("auth_oauth2.oauth_providers.$name.jwks_url", "auth_oauth2.oauth_providers.$name.jwks_uri", |c, name, v| {
        some(&mut provider(c, name).jwks_url, safe_url(v))
    }),
    key(
        "auth_oauth2.oauth_providers.$name.issuer",
        "Who knows where they are, where `jwks_uri` is not set.",
        |c, name, v| some(&mut provider(c, name).issuer, safe_url(v)),
        |c| providers(c, |one| one.issuer.as_ref()),
    ),
    key(
        "auth_oauth2.oauth_providers.$name.discovery_endpoint_path",
        "Where the issuer is asked, behind its address; `.well-known/openid-configuration` where this is not set.",
        |c, name, v| take(&mut provider(c, name).discovery_endpoint_path, v),
        |c| providers(c, |one| Some(&one.discovery_endpoint_path)),
    ),
    key(
        "auth_oauth2.oauth_providers.$name.discovery_endpoint_params.$parameter",
        "With what in the query it is asked.",
        |c, names, v| {
            let (name, parameter) = two(names);
            insert(&mut provider(c, &name).discovery_endpoint_params, &parameter, v)
        },
        |c| inner(&c.auth_oauth2.oauth_providers, |one| named(&one.discovery_endpoint_params)),
    ),
    key(
        "auth_oauth2.oauth_providers.$name.https.verify",
        "`verify_peer`, which is what counts where nothing is set: the certificates of both are checked. `verify_none`: they are not.",
        |c, name, v| verify(&mut provider(c, name).tls, v),
        |c| providers(c, |one| Some(verification(&one.tls))),
    ),
    key(
        "auth_oauth2.oauth_providers.$name.https.cacertfile",
        "The authorities that may sign them: PEM. Those of the system when there are none.",
        |c, name, v| path(&mut provider(c, name).tls.cacertfile, v),
        |c| providers(c, |one| Some(one.tls.cacertfile.as_ref()?.display())),
    ),
];

fn server<'a>(config: &'a mut Config, name: &str) -> &'a mut ResourceServer {
    config.auth_oauth2.resource_servers.entry(name.to_owned()).or_default()
}

fn provider<'a>(config: &'a mut Config, name: &str) -> &'a mut OAuthProvider {
    config.auth_oauth2.oauth_providers.entry(name.to_owned()).or_default()
}

fn numbered<'a>(aliases: &'a mut Aliases, place: &str) -> &'a mut NumberedAlias {
    aliases.numbered.entry(place.to_owned()).or_default()
}

fn parts(aliases: &Aliases, part: impl Fn(&NumberedAlias) -> Option<&String>) -> impl Iterator<Item = (&String, &String)> {
    aliases.numbered.iter().filter_map(move |(place, both)| Some((place, part(both)?)))
}

fn claim(server: &mut ResourceServer, place: &str, value: &str) -> Result<(), String> {
    server.preferred_username_claims.insert(number(place)?, value.to_owned());
    Ok(())
}

fn claims(server: &ResourceServer) -> impl Iterator<Item = (String, String)> {
    server.preferred_username_claims.iter().map(|(place, claim)| (place.to_string(), claim.clone()))
}

fn text(place: &mut Option<String>, value: &str) -> Result<(), String> {
    take(place, value.to_owned())
}

fn insert<V: From<String>>(values: &mut BTreeMap<String, V>, name: &str, value: &str) -> Result<(), String> {
    values.insert(name.to_owned(), value.to_owned().into());
    Ok(())
}

/// The two names that there are in a key.
fn two(names: &str) -> (String, String) {
    let mut names = segments(names).into_iter();
    (names.next().unwrap_or_default(), names.next().unwrap_or_default())
}

fn servers<'a, V: Display>(config: &'a Config, value: impl Fn(&'a ResourceServer) -> Option<V>) -> Vec<(String, String)> {
    named(config.auth_oauth2.resource_servers.iter().filter_map(|(name, server)| Some((name, value(server)?))))
}

fn providers<'a, V: Display>(config: &'a Config, value: impl Fn(&'a OAuthProvider) -> Option<V>) -> Vec<(String, String)> {
    named(config.auth_oauth2.oauth_providers.iter().filter_map(|(name, provider)| Some((name, value(provider)?))))
}

/// Values that have a name of their own in what has one.
fn inner<T>(all: &BTreeMap<String, T>, values: impl Fn(&T) -> Vec<(String, String)>) -> Vec<(String, String)> {
    let of_one = |(name, one)| values(one).into_iter().map(move |(inner, value)| (within(&[name, &inner]), value));
    all.iter().flat_map(of_one).collect()
}
