//! Texts: Erlang terms in replies, the length of replies, the configuration file.

use leveret::amqp::ReplyCode;
use leveret::amqp::frame::erlang_binary;
use leveret::broker::Error;
use leveret::config::Config;
use proptest::prelude::*;

use super::wire::cases;

/// How Erlang shows a byte inside a text, if it does.
fn shown(byte: u8) -> Option<String> {
    let escape = |letter: char| Some(format!("\\{letter}"));
    match byte {
        8 => escape('b'),
        9 => escape('t'),
        10 => escape('n'),
        11 => escape('v'),
        12 => escape('f'),
        13 => escape('r'),
        27 => escape('e'),
        b'"' | b'\\' => escape(char::from(byte)),
        32..=126 | 160..=255 => Some(char::from(byte).to_string()),
        _ => None,
    }
}

fn rendered(bytes: &[u8], text_when_printable: bool) -> String {
    let texts: Option<Vec<String>> = bytes.iter().map(|byte| shown(*byte)).collect();
    match texts {
        Some(texts) if text_when_printable && !texts.is_empty() => format!("<<\"{}\">>", texts.concat()),
        _ => format!("<<{}>>", bytes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
    }
}

const CODES: [ReplyCode; 5] =
    [ReplyCode::NotFound, ReplyCode::PreconditionFailed, ReplyCode::NoRoute, ReplyCode::FrameError, ReplyCode::InternalError];

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn binaries_are_shown_as_erlang_does(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), prop::collection::vec(prop_oneof![8..=13u8, 32..=126u8, 160..=255u8, Just(27)], 0..200)],
        text in any::<bool>(),
    ) {
        prop_assert_eq!(erlang_binary(&bytes, text), rendered(&bytes, text));
    }

    /// A long binary is shown at least as far as a reply text goes.
    #[test]
    fn long_binaries_are_shown_far_enough(bytes in prop::collection::vec(any::<u8>(), 200..600)) {
        let (ours, all) = (erlang_binary(&bytes, false), rendered(&bytes, false));
        let same = ours.bytes().zip(all.bytes()).take_while(|(a, b)| a == b).count();
        prop_assert!(same >= 255 || ours == all);
    }

    #[test]
    fn reply_texts_fit_into_short_strings(code in 0..CODES.len(), text in "\\PC{0,300}", filler in 0..300usize) {
        let text = format!("{}{text}", "x".repeat(filler));
        let error = Error { code: CODES[code], text: text.clone(), class_method: None, unanswered: None };
        let full = if text.is_empty() { CODES[code].name().to_owned() } else { format!("{} - {text}", CODES[code].name()) };
        let reply = error.reply_text();
        if full.len() <= 255 {
            prop_assert_eq!(reply, full);
        } else {
            prop_assert!(reply.len() <= 255);
            let kept = reply.strip_suffix("...").expect("it is cut");
            prop_assert!(full.starts_with(kept));
            // Not a character less than fits.
            let next = full[kept.len()..].chars().next().map_or(0, char::len_utf8);
            prop_assert!(kept.len() + next > 252, "{} bytes are kept", kept.len());
        }
    }

    /// Whatever the file says, it is understood, or refused with the line.
    #[test]
    fn any_configuration_is_read_or_refused(
        lines in prop::collection::vec((
            prop_oneof![
                prop::sample::select(vec!["listeners.tcp.default", "heartbeat", "frame_max", "channel_max", "max_message_size", "default_overflow",
                    "vm_memory_high_watermark.relative", "vm_memory_high_watermark.absolute", "loopback_users", "loopback_users.guest",
                    "outbox_high", "compat", "log.console.level", "default_max_length"]).prop_map(String::from),
                "\\PC{0,20}",
            ],
            prop::sample::select(vec![" = ", "=", " ", " == ", "#"]),
            prop_oneof!["[0-9]{0,22}", "[0-9]{1,20} ?(kB|MiB|GB|k|é|)", "[-+.0-9eE]{0,8}", "\\PC{0,20}", "(none|true|false|4\\.0|drop-head|::1|127\\.0\\.0\\.1:[0-9]{1,6})"],
        ), 0..6),
    ) {
        let text: String = lines.iter().map(|(key, middle, value)| format!("{key}{middle}{value}\n")).collect();
        if let Err(error) = Config::default().read(&text) {
            prop_assert!(error.to_string().starts_with("line "), "{}", error);
        }
    }
}
