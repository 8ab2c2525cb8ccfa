//! Files that are read together, what is wrong with them, and files as people have them.

use std::fs;

use super::*;
use crate::config::{DiskFreeLimit, MemoryWatermark};

/// A folder with files, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("leveret-sources-{}-{number}", std::process::id()));
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder is made");
            fs::write(path, text).expect("a file is written");
        }
        Self(folder)
    }

    fn read(&self, path: &str) -> Sources {
        let mut sources = Sources::new(|_| None);
        sources.read(&self.0.join(path));
        sources
    }

    /// What is wrong, without the name of the folder.
    fn wrong(&self, path: &str) -> String {
        let wrong = self.read(path).config().expect_err("something is wrong").to_string();
        wrong.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(text: &str) -> Config {
    let mut config = Config::default();
    config.read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    config
}

fn wrong(text: &str) -> String {
    Config::default().read(text).expect_err("something is wrong").to_string()
}

/// config/leveret.conf shows the keys that have a value by default, at that value, commented out.
#[test]
fn the_sample_file_shows_the_defaults() {
    let sample = include_str!("../../../config/leveret.conf");
    let shown: String =
        sample.lines().filter_map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = "))).map(|l| format!("{l}\n")).collect();
    assert_eq!(config(&shown), Config::default());
    for key in keys::all() {
        for (name, _) in (key.show)(&Config::default()) {
            assert!(sample.contains(&format!("# {} = ", key.named(&name))), "{} is not in the sample", key.pattern);
        }
    }
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest_key() {
    for (line, why) in [
        ("\nheartbeats = 5", "line 2: unknown key 'heartbeats'; did you mean 'heartbeat'?"),
        ("lissteners.tcp.default = 1", "line 1: unknown key 'lissteners.tcp.default'; did you mean 'listeners.tcp.default'?"),
        ("loopback_user.guest = false", "line 1: unknown key 'loopback_user.guest'; did you mean 'loopback_users.guest'?"),
        ("mqtt.listner.tcp.x = 1", "line 1: unknown key 'mqtt.listner.tcp.x'; did you mean 'mqtt.listeners.tcp.x'?"),
        ("default_vhosts = /", "line 1: unknown key 'default_vhosts'; did you mean 'default_vhost'?"),
    ] {
        assert_eq!(wrong(line), why);
    }
    let long = "x".repeat(300);
    assert_eq!(wrong(&format!("{long} = 1")), format!("line 1: unknown key '{long}'"));
}

#[test]
fn everything_that_is_wrong_is_named_in_its_order() {
    let text = "heartbeat = often\nframe_max = 1\njust words\nnonsense = 1\nchannel_max = 70000\ncompat = 5.0";
    let wrong = wrong(text);
    let begins: Vec<&str> = wrong.lines().map(|line| line.split('\'').next().expect("a beginning")).collect();
    assert_eq!(
        begins,
        [
            "line 1: heartbeat: ",
            "line 3: expected key = value",
            "line 4: unknown key ",
            "line 5: channel_max: ",
            "line 6: compat: unknown profile "
        ]
    );
}

#[test]
fn values_out_of_range_are_refused() {
    for line in [
        "channel_max = 70000",
        "vm_memory_high_watermark.relative = 2",
        "compat = 5.0",
        "default_overflow = drop",
        "frame_max = 5G",
        "listeners.tcp = some",
        "loopback_users = guest",
        "default_user_tags.x = 1",
        "log.console.formatter = xml",
        "definitions.import_backend = https",
        "management.rates_mode = fast",
        "default_pass = encrypted:abc",
        "management.tcp.ip = localhost",
    ] {
        assert!(wrong(line).starts_with("line 1: "), "{line}");
    }
}

#[test]
fn the_last_one_of_a_key_counts() {
    assert_eq!(config("heartbeat = often\nheartbeat = 5").heartbeat_s, 5);
    let folder = Folder::new(&[
        ("conf.d/20-b.conf", "heartbeat = 20\nchannel_max = 20"),
        ("conf.d/10-a.conf", "heartbeat = 10\nframe_max = 10000"),
        ("conf.d/30-c.conf.bak", "heartbeat = 30"),
        ("conf.d/.40.conf", "heartbeat = 40"),
    ]);
    for path in ["conf.d", "conf.d/*.conf", "conf.d/*-*.conf"] {
        let config = folder.read(path).config().expect("a configuration");
        assert_eq!((config.heartbeat_s, config.frame_max, config.channel_max), (20, 10_000, 20), "{path}");
    }
    assert_eq!(folder.read("conf.d/1*").config().expect("a configuration").heartbeat_s, 10);
}

#[test]
fn the_amount_goes_before_the_share() {
    let both = config("vm_memory_high_watermark.absolute = 1GB\nvm_memory_high_watermark.relative = 0.4");
    assert_eq!(both.memory_watermark, MemoryWatermark::Absolute(1_000_000_000));
    assert_eq!(config("vm_memory_high_watermark.relative = 0.4").memory_watermark, MemoryWatermark::Relative(0.4));
    assert_eq!(config("disk_free_limit.relative = 1.5").disk_free_limit, DiskFreeLimit::Relative(1.5));
    assert_eq!(config("total_memory_available_override_value = 1000\nvm_memory_high_watermark.relative = 0.5").memory_limit(), 500);
}

#[test]
fn lists_take_the_place_of_the_default_ones() {
    let names = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
    for (text, users) in [
        ("", "guest"),
        ("loopback_users.guest = true", "guest"),
        ("loopback_users.guest = false", ""),
        ("loopback_users.hare = true", "hare"),
        ("loopback_users.hare = true\nloopback_users.guest = true", "guest hare"),
        ("loopback_users = none", ""),
        ("loopback_users = none\nloopback_users.hare = true", ""),
        (r"loopback_users.first\.last = true", "first.last"),
    ] {
        assert_eq!(names(&config(text).loopback_users), users, "{text}");
    }
    let tags = |text| names(&config(text).default_user_tags);
    assert_eq!(tags(""), "administrator");
    assert_eq!(tags("default_user_tags.monitoring = true\ndefault_user_tags.custom = true"), "custom monitoring");
    assert_eq!(tags("default_user_tags.administrator = false"), "");
}

#[test]
fn listeners_by_name() {
    let of = |text| {
        let config = config(text);
        let more: Vec<String> = config.listeners.iter().map(|(name, address)| format!("{name} {address}")).collect();
        (config.tcp, config.amqp.to_string(), more.join(" "))
    };
    let is = |tcp, amqp: &str, more: &str| (tcp, amqp.to_owned(), more.to_owned());
    assert_eq!(of(""), is(true, "127.0.0.1:5672", ""));
    assert_eq!(of("listeners.tcp.default = 5673"), is(true, "0.0.0.0:5673", ""));
    assert_eq!(of("listeners.tcp.default = 1\nlisteners.tcp.local = ::1:2"), is(true, "0.0.0.0:1", "local [::1]:2"));
    assert_eq!(of("listeners.tcp.2 = 127.0.0.1:2\nlisteners.tcp.1 = 127.0.0.1:1"), is(true, "127.0.0.1:1", "2 127.0.0.1:2"));
    assert_eq!(of("listeners.tcp = none"), is(false, "127.0.0.1:5672", ""));
    assert_eq!(wrong("listeners.tcp.1 = x"), "line 1: listeners.tcp.1: 'x' is neither a port nor an address with a port");
}

#[test]
fn ports_and_addresses_of_http() {
    let http = |text| config(text).http.to_string();
    assert_eq!(http("management.tcp.port = 1"), "0.0.0.0:1");
    assert_eq!(http("management.tcp.ip = ::\nmanagement.tcp.port = 1"), "[::]:1");
    assert_eq!(http("management.tcp.ip = 127.0.0.2"), "127.0.0.2:15672");
    assert_eq!(http("management.listener.port = 1\nmanagement.listener.ip = 127.0.0.2"), "127.0.0.2:1");
    assert_eq!(config("prometheus.tcp.port = 9419").prometheus, "0.0.0.0:9419".parse().ok());
}

#[test]
fn what_is_deprecated_is_permitted_over_the_profile() {
    let flags = |text| {
        let profile = config(text).settings().profile;
        (profile.transient_nonexcl_queues_denied, profile.global_qos_ignored)
    };
    assert_eq!(flags("compat = 4.3"), (true, true));
    assert_eq!(flags("compat = 4.3\ndeprecated_features.permit.transient_nonexcl_queues = true"), (false, true));
    assert_eq!(flags("compat = 4.3\ndeprecated_features.permit.global_qos = true"), (true, false));
    assert_eq!(flags("deprecated_features.permit.transient_nonexcl_queues = false"), (true, false));
}

#[test]
fn anonymous_is_offered_unless_it_is_nobody() {
    let offered = |text| config(text).settings().profile.anonymous;
    assert!(offered("") && offered("default_user = hare"));
    assert!(!offered("compat = 3.13") && !offered("anonymous_login_user = none"));
    let node = config("default_user = hare\nanonymous_login_user = fox\nanonymous_login_pass = hole").node();
    assert_eq!((&*node.anonymous_user, node.anonymous_pass.as_str()), ("fox", "hole"));
    assert_eq!(&*config("default_user = hare").node().anonymous_user, "guest");
}

#[test]
fn files_include_others() {
    let folder = Folder::new(&[
        ("main.conf", "heartbeat = 1\ninclude more/*.conf # all\nchannel_max = 1\n"),
        ("more/a.conf", "heartbeat = 2\nchannel_max = 2\n"),
        ("broken.conf", "\ninclude more/none.conf"),
        ("wrong.conf", "include broken2.conf"),
        ("broken2.conf", "words"),
        ("self.conf", "include self.conf"),
    ]);
    let config = folder.read("main.conf").config().expect("a configuration");
    assert_eq!((config.heartbeat_s, config.channel_max), (2, 1));
    assert_eq!(folder.wrong("broken.conf"), "broken.conf: line 2: more/none.conf: No such file or directory (os error 2)");
    assert_eq!(folder.wrong("wrong.conf"), "wrong.conf: line 1: broken2.conf: line 1: expected key = value");
    assert!(folder.wrong("self.conf").ends_with("self.conf is included too deep"));
    assert_eq!(folder.wrong("gone.conf"), "gone.conf: No such file or directory (os error 2)");
}

#[test]
fn values_refer_to_variables_and_keys() {
    let mut sources = Sources::new(|name| (name == "SECRET").then(|| "s#1".to_owned()));
    let text = "default_user = hare\ndefault_pass = $(SECRET)\ncluster_name = of-$(default_user)\nnode_name = '$(cluster_name)@x'";
    sources.read_text(text, &Origin::Text, None, 0);
    let config = sources.config().expect("a configuration");
    assert_eq!((config.default_pass.as_str(), config.node_name.as_str()), ("s#1", "of-hare@x"));
    for text in
        ["default_user = $(NOBODY)", "default_user = $(default_user)", "default_user = $(default_pass)\ndefault_pass = $(default_user)"]
    {
        assert!(wrong(text).contains("no such environment variable, and no such key in the files"), "{text}");
    }
}

#[test]
fn what_is_ignored_is_said_once() {
    let mut sources = Sources::new(|_| None);
    sources.read_text("queue_master_locator = min-masters\nheartbeat = 5\nmqtt.vhost = /\nmqtt.vhost = x", &Origin::Text, None, 0);
    sources.config().expect("a configuration");
    assert_eq!(sources.warnings(), ["keys of RabbitMQ that mean nothing here: mqtt.vhost, queue_master_locator"]);
    assert_eq!(Sources::new(|_| None).warnings(), [""; 0]);
}

#[test]
fn prefixes_are_forgotten_by_whole_segments() {
    let mut sources = Sources::new(|_| None);
    for key in ["listeners.tcp", "listeners.tcp.1", "listeners.tcpx", "heartbeat"] {
        sources.set(key, "1", Origin::Text(1));
    }
    sources.forget("listeners.tcp");
    assert_eq!(sources.settings.keys().collect::<Vec<_>>(), ["heartbeat", "listeners.tcpx"]);
}

#[test]
fn names_of_files_fit_patterns() {
    for (name, pattern) in
        [("a.conf", "*.conf"), ("a.conf", "*"), ("a.conf", "a.conf"), ("10-a.conf", "1*-*.conf"), (".a", ".*"), ("ab", "a*b")]
    {
        assert!(fits(name, pattern), "{name} {pattern}");
    }
    for (name, pattern) in [("a.conf.bak", "*.conf"), (".a.conf", "*.conf"), ("b.conf", "a*"), ("a", "a*a"), ("a.conf", "b.conf")] {
        assert!(!fits(name, pattern), "{name} {pattern}");
    }
}

/// Files as people have them, or as the images and charts that they use make them.
#[test]
fn files_of_others() {
    for (name, text) in CORPUS {
        let mut sources = Sources::new(|name| (name == "SEED_USERNAME" || name == "SEED_USER_PASSWORD").then(|| "seed".to_owned()));
        sources.read_text(text, &Origin::Text, None, 0);
        let config = sources.config();
        assert!(config.is_ok(), "{name}: {}", config.err().map(|error| error.to_string()).unwrap_or_default());
    }
}

const CORPUS: &[(&str, &str)] = &[
    ("the official image", include_str!("corpus/image.conf")),
    ("a cluster on Kubernetes", include_str!("corpus/kubernetes.conf")),
    ("a node with TLS and LDAP", include_str!("corpus/ldap.conf")),
    ("a node that speaks every protocol", include_str!("corpus/protocols.conf")),
    ("every key of RabbitMQ's sample file", include_str!("corpus/sample.conf")),
];
