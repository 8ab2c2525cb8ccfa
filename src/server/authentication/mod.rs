//! Who somebody is, and what it may do, where not only the node itself knows: backends that are asked one after the other, and the
//! answers to what the core asks for connections.

mod cache;
pub(super) mod http;
mod service;

use std::net::IpAddr;
use std::sync::Arc;

use super::outbox::Shared;
use super::time::Time;
use super::{Shell, StartError};
use crate::broker::{Access, Answer, Enquiry, Error, Question, Rights, Verdict};
use crate::config::Config;
use crate::node::Node;
use crate::node::identity::{Authority, Backend, Backends, Identity};
use crate::server::broker_loop::BrokerLoop;
use crate::server::oauth2::OAuth2;
use service::Service;

/// Whom backends may be.
#[derive(Debug)]
pub(super) struct Authentication {
    service: Service,
    /// Where there are keys for tokens.
    oauth2: Option<OAuth2>,
}

impl Authentication {
    /// # Errors
    /// Files that are not what they should be.
    pub(super) fn new(config: &Config, time: &Arc<Time>) -> Result<Self, StartError> {
        let backends = config.backends().map_err(StartError)?;
        let uses_tokens = backends.iter().any(|backends| [backends.authn, backends.authz].contains(&Backend::OAuth2));
        let oauth2 = if uses_tokens { Some(OAuth2::new(&config.auth_oauth2, time).map_err(StartError)?) } else { None };
        Ok(Self { service: Service::new(&config.auth_http, &config.auth_cache)?, oauth2 })
    }

    /// Somebody by a name and a password or, where a certificate speaks for the name, by the name alone. Backends are asked one after
    /// the other until one knows it; who cannot be asked does not.
    pub(super) async fn login(&self, node: &Node, name: &str, password: Option<&[u8]>) -> Option<Identity> {
        if !node.asks_others() {
            return internal(node, name, password);
        }
        for backends in &node.backends {
            if let Some(identity) = self.login_with(node, *backends, name, password).await {
                return Some(identity);
            }
        }
        None
    }

    /// Somebody by a token alone, which nobody else is shown.
    pub(super) async fn login_with_token(&self, node: &Node, token: &[u8]) -> Option<Identity> {
        for backends in node.backends.iter().filter(|backends| backends.authn == Backend::OAuth2) {
            if let Some(identity) = self.login_with(node, *backends, "", Some(token)).await {
                return Some(identity);
            }
        }
        None
    }

    async fn login_with(&self, node: &Node, backends: Backends, name: &str, password: Option<&[u8]>) -> Option<Identity> {
        let identity = self.ask(node, backends.authn, name, password).await?;
        if backends.authn == backends.authz {
            return Some(identity);
        }
        // Whoever says what it may do has to know it as well, by the name that it has now.
        let name = &identity.user.name;
        let other = match backends.authz {
            Backend::Internal => internal(node, name, None)?,
            asked => self.ask(node, asked, name, password).await?,
        };
        let mut tags = identity.user.tags.clone();
        // Only the node adds some.
        let more = other.user.tags.iter().filter(|tag| backends.authz == Backend::Internal && !tags.contains(tag));
        let more: Vec<String> = more.cloned().collect();
        tags.extend(more);
        Some(Identity::elsewhere(node, name, tags, other.authority))
    }

    async fn ask(&self, node: &Node, backend: Backend, name: &str, password: Option<&[u8]>) -> Option<Identity> {
        match backend {
            Backend::Internal => internal(node, name, password),
            Backend::Http { cached } => {
                let tags = self.service.user(name, password, cached).await?;
                Some(Identity::elsewhere(node, name, tags, Authority::Service { cached }))
            }
            Backend::OAuth2 => {
                let verified = self.oauth2.as_ref()?.verify(password?).await;
                let verified = verified.inspect_err(|why| tracing::info!("Authentication using OAuth 2/JWT token failed: {why}")).ok()?;
                let tags = verified.token.tags();
                Some(Identity::elsewhere(node, &verified.name, tags, Authority::Token(Arc::new(verified.token))))
            }
        }
    }

    /// Whether a virtual host may be opened.
    pub(super) async fn may_open(&self, node: &Node, identity: &Identity, vhost: &str, ip: IpAddr) -> Verdict {
        match &identity.authority {
            Authority::Service { cached } => self.service.vhost(&identity.user, vhost, ip, *cached).await,
            Authority::Node | Authority::Token(_) if identity.rights(node, vhost).is_some() => Verdict::Allowed,
            Authority::Node | Authority::Token(_) => Verdict::Refused(String::new()),
        }
    }

    /// Whether something may be done in a virtual host.
    pub(super) async fn access(&self, node: &Node, identity: &Identity, vhost: &str, access: &Access) -> Verdict {
        let allows = |rights: Rights| rights.allow(access);
        match &identity.authority {
            Authority::Service { cached } => self.service.access(&identity.user, vhost, access, *cached).await,
            Authority::Node | Authority::Token(_) if identity.rights(node, vhost).is_some_and(allows) => Verdict::Allowed,
            Authority::Node | Authority::Token(_) => Verdict::Refused(String::new()),
        }
    }

    /// connection.update-secret: the identity that somebody has from now on, and what it may do with it.
    async fn new_secret(&self, node: &Node, identity: &Identity, secret: &[u8]) -> Result<Identity, Error> {
        let (Authority::Token(_), Some(oauth2)) = (&identity.authority, &self.oauth2) else { return Ok(identity.clone()) };
        let name = &identity.user.name;
        let verified = oauth2.verify(secret).await.and_then(|verified| {
            if *verified.name == **name { Ok(verified) } else { Err("Not allowed to change username on refreshed token".to_owned()) }
        });
        let verified = verified.map_err(|why| {
            tracing::error!("Secret update was refused for user '{name}': {why}");
            Error::secret_refused()
        })?;
        let tags = verified.token.tags();
        Ok(Identity::elsewhere(node, name, tags, Authority::Token(Arc::new(verified.token))))
    }
}

/// A user of the node; without a password, its name is certain.
fn internal(node: &Node, name: &str, password: Option<&[u8]>) -> Option<Identity> {
    let user = match password {
        Some(password) => node.login(name, password, true),
        None => node.user(name),
    };
    user.cloned().map(Identity::of_node)
}

impl Shell {
    /// Finds out what the core has asked for a connection, and tells it.
    pub(super) async fn answer(self: Arc<Self>, broker_loop: Arc<BrokerLoop>, shared: Arc<Shared>, enquiry: Enquiry) {
        let Enquiry { connection, number, question } = enquiry;
        let identity = shared.identity.lock().clone();
        let answer = match (question, identity) {
            (Question::Access(access), Some(identity)) => {
                Answer::Access(self.authentication.access(&self.node(), &identity, broker_loop.vhost(), &access).await)
            }
            (Question::Access(_), None) => Answer::Access(Verdict::Refused(String::new())),
            (Question::Secret(secret), Some(identity)) => {
                Answer::Secret(self.update_secret(&identity, &secret, broker_loop.vhost(), &shared).await)
            }
            (Question::Secret(_), None) => Answer::Secret(Err(Error::secret_update_failed())),
        };
        broker_loop.answered(connection, number, answer);
    }

    async fn update_secret(&self, identity: &Identity, secret: &[u8], vhost: &str, shared: &Shared) -> Result<Option<Arc<Rights>>, Error> {
        let node = self.node();
        let identity = self.authentication.new_secret(&node, identity, secret).await?;
        let name = Arc::clone(&identity.user.name);
        if let Verdict::Refused(more) = self.authentication.may_open(&node, &identity, vhost, shared.peer.ip()).await {
            return Err(Error::vhost_access_refused(vhost, &name, &more));
        }
        let rights = match &identity.authority {
            Authority::Token(_) => identity.rights(&node, vhost).map(Arc::new),
            // What it may do is asked as before.
            Authority::Node | Authority::Service { .. } => None,
        };
        *shared.identity.lock() = Some(identity);
        tracing::info!("user '{name}' updated secret of the connection from {}", shared.peer);
        Ok(rights)
    }
}
