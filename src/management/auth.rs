//! Who asks, and what they may: HTTP's Basic authentication or a bearer token, tags, virtual hosts. The refusals are RabbitMQ's (rabbit_web_dispatch_access_control).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::error::ApiError;
use super::{Api, Local};
use crate::node::Node;
use crate::node::identity::{Authority, Identity};
use crate::node::users::{Tag, User};
use crate::server::{AttemptSource, Protocol};

/// How long somebody who was refused waits for the answer: guessing passwords takes its time.
const REFUSAL_DELAY: Duration = Duration::from_millis(250);

/// A user who may use the API.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) user: Arc<User>,
    pub(super) node: Arc<Node>,
    /// It came over the control socket, and may everything.
    pub(super) is_local: bool,
    pub(super) authority: Authority,
    /// What it has logged in with, where the node does not answer for it: never that itself.
    pub(super) credential: Option<[u8; 32]>,
    /// The virtual hosts that it may open, where a service says so.
    opens: BTreeSet<Arc<str>>,
}

impl FromRequestParts<Api> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        authenticate(parts, api).await?.for_management().await
    }
}

/// A user who publishes and consumes, for which no tag is needed.
#[derive(Clone, Debug)]
pub(super) struct Client(pub(super) Caller);

impl FromRequestParts<Api> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        authenticate(parts, api).await.map(Self)
    }
}

async fn authenticate(parts: &Parts, api: &Api) -> Result<Caller, ApiError> {
    if parts.extensions.get::<Local>().is_some() {
        // Whoever may write to the control socket is the owner of the process.
        let identity = Identity::of_node(Arc::new(Local::user()));
        return Ok(Caller { is_local: true, ..Caller::new(api.handle.node(), identity) });
    }
    let node = api.handle.node();
    let (name, secret, identity) = match credentials(parts).ok_or(ApiError::Unauthenticated("Login failed"))? {
        Credentials::Basic(name, password) => {
            let identity = api.handle.login(&node, &name, &password).await;
            (name, password, identity)
        }
        Credentials::Bearer(token) => {
            let identity = api.handle.login_with_token(&node, &token).await;
            (String::new(), token, identity)
        }
    };
    admit(api, node, identity, (&name, &secret), parts).await
}

/// Lets somebody in who gives a name and a password.
pub(super) async fn login(api: &Api, name: &str, password: &str, parts: &Parts) -> Result<Caller, ApiError> {
    let node = api.handle.node();
    let identity = api.handle.login(&node, name, password).await;
    admit(api, node, identity, (name, password), parts).await
}

async fn admit(
    api: &Api,
    node: Arc<Node>,
    identity: Option<Identity>,
    (name, secret): (&str, &str),
    parts: &Parts,
) -> Result<Caller, ApiError> {
    let ip = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    let from_loopback = ip.is_some_and(|ip| ip.is_loopback());
    // From where is asked after the password, so that nobody learns which users there are.
    let may_come = identity.as_ref().is_some_and(|identity| node.may_come_from(&identity.user, from_loopback));
    let user = || identity.as_ref().map_or_else(|| name.to_owned(), |identity| identity.user.name.to_string());
    let source = || AttemptSource { address: ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), user: user() };
    api.handle.count_attempt(Protocol::Http, may_come, source);
    let Some(identity) = identity else {
        return refuse(name, ApiError::Unauthenticated("Not_Authorized"), "wrong name or password").await;
    };
    if !may_come {
        let name = &identity.user.name;
        return refuse(name, ApiError::Unauthorised("User can only log in via localhost".into()), "not from this machine").await;
    }
    let credential = (identity.authority != Authority::Node).then(|| Sha256::digest(secret).into());
    let mut caller = Caller { credential, ..Caller::new(node, identity) };
    if matches!(caller.authority, Authority::Service { .. }) && !caller.is(Tag::Administrator) {
        caller.ask_what_it_opens(api, ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into())).await;
    }
    Ok(caller)
}

async fn refuse(user: &str, error: ApiError, why: &str) -> Result<Caller, ApiError> {
    tracing::warn!(user, "HTTP access denied: {why}");
    tokio::time::sleep(REFUSAL_DELAY).await;
    Err(error)
}

enum Credentials {
    /// A name and a password.
    Basic(String, String),
    /// A token.
    Bearer(String),
}

fn credentials(parts: &Parts) -> Option<Credentials> {
    let header = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, value) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Bearer(value.trim().to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some(Credentials::Basic(name.to_owned(), password.to_owned()))
}

impl Caller {
    fn new(node: Arc<Node>, identity: Identity) -> Self {
        let Identity { user, authority } = identity;
        Self { user, node, is_local: false, authority, credential: None, opens: BTreeSet::new() }
    }

    /// Administrators are not asked about: they see all.
    async fn ask_what_it_opens(&mut self, api: &Api, ip: IpAddr) {
        let identity = self.identity();
        for vhost in self.node.vhosts.keys() {
            if api.handle.may_open(&self.node, &identity, vhost, ip).await {
                self.opens.insert(Arc::clone(vhost));
            }
        }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity { user: Arc::clone(&self.user), authority: self.authority.clone() }
    }

    /// Refuses who may not use the management API.
    pub(super) async fn for_management(self) -> Result<Self, ApiError> {
        if !self.user.may(Tag::Management) {
            return refuse(self.name(), ApiError::Unauthorised("Not management user".into()), "Not management user").await;
        }
        Ok(self)
    }

    pub(super) fn name(&self) -> &str {
        &self.user.name
    }

    /// What this node is called.
    pub(super) fn node_name(&self) -> &str {
        &self.node.settings.node_name
    }

    pub(super) fn is(&self, tag: Tag) -> bool {
        self.user.may(tag)
    }

    pub(super) fn administrator(&self) -> Result<(), ApiError> {
        self.check(self.is(Tag::Administrator), "Not administrator user")
    }

    pub(super) fn monitor(&self) -> Result<(), ApiError> {
        self.check(self.is(Tag::Monitoring), "Not monitor user")
    }

    /// Whether it may use what is in a virtual host; 404 when there is no such virtual host.
    pub(super) fn vhost(&self, vhost: &str) -> Result<(), ApiError> {
        if self.node.vhost(vhost).is_none() {
            return Err(ApiError::NotFound);
        }
        self.check(self.is(Tag::Administrator) || self.may_open(vhost), "User not authorised to access virtual host")
    }

    /// The same to look at only, which monitors may everywhere.
    pub(super) fn sees_vhost(&self, vhost: &str) -> Result<(), ApiError> {
        if self.node.vhost(vhost).is_none() {
            return Err(ApiError::NotFound);
        }
        self.check(self.sees(vhost), "User not authorised to access virtual host")
    }

    /// Whether it may set policies and parameters of a virtual host.
    pub(super) fn policies(&self, vhost: &str) -> Result<(), ApiError> {
        if self.node.vhost(vhost).is_none() {
            return Err(ApiError::NotFound);
        }
        let may = self.is(Tag::Administrator) || self.is(Tag::Policymaker) && self.may_open(vhost);
        self.check(may, "User not authorised to access object")
    }

    pub(super) fn global_parameters(&self) -> Result<(), ApiError> {
        self.check(self.is(Tag::Policymaker), "User not authorised to access object")
    }

    /// Whether it may look at what belongs to a user, such as a connection, or end it.
    pub(super) fn owns(&self, owner: &str, ends: bool) -> Result<(), ApiError> {
        let may = if ends { self.is(Tag::Administrator) } else { self.is(Tag::Monitoring) };
        self.check(may || owner == self.name(), "User not authorised to access object")
    }

    /// The virtual hosts of which lists show it something.
    pub(super) fn visible(&self) -> Vec<Arc<str>> {
        self.node.vhosts.keys().filter(|vhost| self.sees(vhost)).cloned().collect()
    }

    pub(super) fn all_vhosts(&self) -> Vec<Arc<str>> {
        self.node.vhosts.keys().cloned().collect()
    }

    /// Whether lists of connections and channels show it those of a user: who is no monitor sees its own.
    pub(super) fn shows(&self) -> impl Fn(&str) -> bool + Send + 'static {
        let only = (!self.is(Tag::Monitoring)).then(|| Arc::clone(&self.user.name));
        move |owner| only.as_ref().is_none_or(|only| **only == *owner)
    }

    /// Whether lists that go over virtual hosts show it this one.
    pub(super) fn sees(&self, vhost: &str) -> bool {
        self.is(Tag::Monitoring) || self.may_open(vhost)
    }

    /// Whether lists of what belongs to virtual hosts show it what is in this one.
    pub(super) fn opens(&self, vhost: &str) -> bool {
        self.is(Tag::Administrator) || self.may_open(vhost)
    }

    pub(super) fn may_open(&self, vhost: &str) -> bool {
        match &self.authority {
            Authority::Node => self.node.permissions.contains_key(&(Arc::clone(&self.user.name), Arc::from(vhost))),
            Authority::Token(token) => token.grants(vhost).is_some(),
            Authority::Service { .. } => self.is(Tag::Administrator) || self.opens.contains(vhost),
        }
    }

    fn check(&self, may: bool, refusal: &'static str) -> Result<(), ApiError> {
        if may {
            return Ok(());
        }
        tracing::warn!(user = self.name(), "HTTP access denied: {refusal}");
        Err(ApiError::Unauthorised(refusal.into()))
    }
}
