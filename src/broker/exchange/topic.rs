//! The topic exchange: a trie over the words of the binding keys (behaviour X15).
//!
//! Words are what stands between dots, empty ones included; `*` is exactly one word, `#` any number. A routing key is
//! matched by walking all positions in the trie at once, word by word, so its cost is bounded by the trie's size
//! however many `#` there are.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use slotmap::{SlotMap, new_key_type};
use smallvec::SmallVec;

use super::Destination;

new_key_type! { struct NodeId; }

#[derive(Debug, Default)]
struct Node {
    parent: Option<(NodeId, Word)>,
    /// Looked up only, never iterated.
    words: HashMap<Box<[u8]>, NodeId, FixedState>,
    /// `*`
    star: Option<NodeId>,
    /// `#`
    hash: Option<NodeId>,
    destinations: Vec<Destination>,
}

#[derive(Clone, Debug)]
enum Word {
    Literal(Box<[u8]>),
    Star,
    Hash,
}

/// Positions in the trie; few at a time in practice.
type Positions = SmallVec<[NodeId; 16]>;

#[derive(Debug)]
pub(super) struct Topic {
    nodes: SlotMap<NodeId, Node>,
    root: NodeId,
}

impl Default for Topic {
    fn default() -> Self {
        let mut nodes = SlotMap::with_key();
        let root = nodes.insert(Node::default());
        Self { nodes, root }
    }
}

/// The words of a key. RabbitMQ reads the empty key as no word at all.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let none = key.is_empty();
    key.split(|b| *b == b'.').skip(usize::from(none))
}

impl Topic {
    pub(super) fn bind(&mut self, destination: Destination, key: &str) {
        let mut at = self.root;
        for word in words(key.as_bytes()) {
            at = self.child(at, word);
        }
        self.nodes[at].destinations.push(destination);
    }

    fn child(&mut self, at: NodeId, word: &[u8]) -> NodeId {
        let node = &self.nodes[at];
        let (found, word) = match word {
            b"*" => (node.star, Word::Star),
            b"#" => (node.hash, Word::Hash),
            literal => (node.words.get(literal).copied(), Word::Literal(literal.into())),
        };
        found.unwrap_or_else(|| {
            let new = self.nodes.insert(Node { parent: Some((at, word.clone())), ..Node::default() });
            let node = &mut self.nodes[at];
            match word {
                Word::Star => node.star = Some(new),
                Word::Hash => node.hash = Some(new),
                Word::Literal(literal) => drop(node.words.insert(literal, new)),
            }
            new
        })
    }

    pub(super) fn unbind(&mut self, destination: Destination, key: &str) {
        let mut at = self.root;
        for word in words(key.as_bytes()) {
            let node = &self.nodes[at];
            let next = match word {
                b"*" => node.star,
                b"#" => node.hash,
                literal => node.words.get(literal).copied(),
            };
            let Some(next) = next else { return };
            at = next;
        }
        self.nodes[at].destinations.retain(|d| *d != destination);
        self.prune(at);
    }

    /// Removes a node that leads nowhere any more, and its ancestors likewise.
    fn prune(&mut self, mut at: NodeId) {
        loop {
            let node = &self.nodes[at];
            let needed = !node.destinations.is_empty() || !node.words.is_empty() || node.star.is_some() || node.hash.is_some();
            let (false, Some((parent, word))) = (needed, node.parent.clone()) else { return };
            self.nodes.remove(at);
            let above = &mut self.nodes[parent];
            match word {
                Word::Star => above.star = None,
                Word::Hash => above.hash = None,
                Word::Literal(literal) => drop(above.words.remove(&literal)),
            }
            at = parent;
        }
    }

    pub(super) fn route(&self, routing_key: &[u8], found: &mut Vec<Destination>) {
        let mut positions = Positions::new();
        let mut next = Positions::new();
        self.arrive(self.root, &mut positions);
        for word in words(routing_key) {
            for &at in &positions {
                let node = &self.nodes[at];
                if let Some(&child) = node.words.get(word) {
                    self.arrive(child, &mut next);
                }
                if let Some(child) = node.star {
                    self.arrive(child, &mut next);
                }
                // `#` has taken this word too, and stays where it is.
                if matches!(node.parent, Some((_, Word::Hash))) {
                    self.arrive(at, &mut next);
                }
            }
            if next.is_empty() {
                return;
            }
            std::mem::swap(&mut positions, &mut next);
            next.clear();
            if positions.len() > 1 {
                positions.sort_unstable();
                positions.dedup();
            }
        }
        for at in positions {
            found.extend_from_slice(&self.nodes[at].destinations);
        }
    }

    /// Being at a node is being at its `#` child as well: `#` may stand for no word.
    fn arrive(&self, at: NodeId, positions: &mut Positions) {
        positions.push(at);
        let mut at = at;
        while let Some(hash) = self.nodes[at].hash {
            positions.push(hash);
            at = hash;
        }
    }
}
