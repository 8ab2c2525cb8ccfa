//! The topic exchange: a trie over the words of the binding keys (behaviour X15).
//!
//! Words are what stands between dots, empty ones included; `*` is exactly one word, `#` any number. A routing key is
//! matched by walking all positions in the trie at once, word by word, so its cost is bounded by the trie's size
//! however many `#` there are. Words are numbered, so that each of a routing key is looked at once and not at every position.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use slotmap::{SlotMap, new_key_type};
use smallvec::SmallVec;

use super::Destination;

new_key_type! { struct NodeId; }

#[derive(Debug, Default)]
struct Node {
    parent: Option<(NodeId, Word)>,
    /// By the numbers of the words. Looked up only, never iterated.
    words: HashMap<u32, NodeId, FixedState>,
    /// `*`
    star: Option<NodeId>,
    /// `#`
    hash: Option<NodeId>,
    destinations: Vec<Destination>,
}

#[derive(Clone, Copy, Debug)]
enum Word {
    Literal(u32),
    Star,
    Hash,
}

/// The words of all binding keys, each with a number while a node is named by it.
#[derive(Debug, Default)]
struct Vocabulary {
    /// Looked up only, never iterated.
    numbers: HashMap<Arc<[u8]>, u32, FixedState>,
    /// By number: the word and how many nodes it names. What names none is free.
    words: Vec<(Arc<[u8]>, u32)>,
    free: Vec<u32>,
}

impl Vocabulary {
    fn number(&self, word: &[u8]) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    /// One more node is named by this word.
    fn add(&mut self, word: &[u8]) -> u32 {
        if let Some(number) = self.number(word) {
            self.words[number as usize].1 += 1;
            return number;
        }
        let word: Arc<[u8]> = word.into();
        let number = self.free.pop().unwrap_or_else(|| u32::try_from(self.words.len()).expect("fewer words than fit into memory"));
        let entry = (Arc::clone(&word), 1);
        match self.words.get_mut(number as usize) {
            Some(free) => *free = entry,
            None => self.words.push(entry),
        }
        self.numbers.insert(word, number);
        number
    }

    /// One node less is named by it.
    fn remove(&mut self, number: u32) {
        let (word, nodes) = &mut self.words[number as usize];
        *nodes -= 1;
        if *nodes == 0 {
            self.numbers.remove(word);
            *word = Arc::default();
            self.free.push(number);
        }
    }
}

/// Positions in the trie; few at a time in practice.
type Positions = SmallVec<[NodeId; 16]>;

#[derive(Debug)]
pub(super) struct Topic {
    nodes: SlotMap<NodeId, Node>,
    root: NodeId,
    vocabulary: Vocabulary,
}

impl Default for Topic {
    fn default() -> Self {
        let mut nodes = SlotMap::with_key();
        let root = nodes.insert(Node::default());
        Self { nodes, root, vocabulary: Vocabulary::default() }
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
        if let Some(child) = self.find_child(at, word) {
            return child;
        }
        let word = match word {
            b"*" => Word::Star,
            b"#" => Word::Hash,
            literal => Word::Literal(self.vocabulary.add(literal)),
        };
        let new = self.nodes.insert(Node { parent: Some((at, word)), ..Node::default() });
        let node = &mut self.nodes[at];
        match word {
            Word::Star => node.star = Some(new),
            Word::Hash => node.hash = Some(new),
            Word::Literal(number) => drop(node.words.insert(number, new)),
        }
        new
    }

    fn find_child(&self, at: NodeId, word: &[u8]) -> Option<NodeId> {
        let node = &self.nodes[at];
        match word {
            b"*" => node.star,
            b"#" => node.hash,
            literal => node.words.get(&self.vocabulary.number(literal)?).copied(),
        }
    }

    pub(super) fn unbind(&mut self, destination: Destination, key: &str) {
        let mut at = self.root;
        for word in words(key.as_bytes()) {
            let Some(next) = self.find_child(at, word) else { return };
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
            let (false, Some((parent, word))) = (needed, node.parent) else { return };
            self.nodes.remove(at);
            let above = &mut self.nodes[parent];
            match word {
                Word::Star => above.star = None,
                Word::Hash => above.hash = None,
                Word::Literal(number) => {
                    above.words.remove(&number);
                    self.vocabulary.remove(number);
                }
            }
            at = parent;
        }
    }

    pub(super) fn route(&self, routing_key: &[u8], found: &mut Vec<Destination>) {
        let mut positions = Positions::new();
        let mut next = Positions::new();
        self.arrive(self.root, &mut positions);
        for word in words(routing_key) {
            let number = self.vocabulary.number(word);
            for &at in &positions {
                let node = &self.nodes[at];
                if let Some(&child) = number.and_then(|number| node.words.get(&number)) {
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

#[cfg(test)]
mod tests {
    use slotmap::SlotMap;

    use super::Topic;
    use crate::broker::exchange::Destination;
    use crate::broker::queue::QueueId;

    #[test]
    fn nothing_is_left_of_bindings_that_are_gone() {
        let mut queues: SlotMap<QueueId, ()> = SlotMap::with_key();
        let destination = Destination::Queue(queues.insert(()));
        let mut topic = Topic::default();
        let keys = ["a.b.c", "a.b", "b.a", "a.*.c", "#.a", "", "a..a", "*", "c.#"];
        for key in keys {
            topic.bind(destination, key);
        }
        // The words a, b, c and the empty one between two dots.
        assert_eq!(topic.vocabulary.numbers.len(), 4);
        topic.unbind(destination, "a.b.c");
        topic.bind(destination, "x.b.c");
        topic.unbind(destination, "x.b.c");
        for key in keys {
            topic.unbind(destination, key);
        }
        assert_eq!(topic.nodes.len(), 1);
        assert!(topic.vocabulary.numbers.is_empty());
        assert_eq!(topic.vocabulary.free.len(), topic.vocabulary.words.len());
        assert_eq!(topic.vocabulary.words.len(), 5);
    }
}
