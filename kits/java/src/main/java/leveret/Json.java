package leveret;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON as maps, lists, texts, numbers (Long or Double), booleans and null; as much as the broker's answers need. */
final class Json {
  private final String text;
  private int at;

  private Json(String text) {
    this.text = text;
  }

  static Object read(String text) {
    var json = new Json(text);
    var value = json.value();
    json.space();
    if (json.at < text.length()) {
      throw json.unexpected();
    }
    return value;
  }

  static String write(Object value) {
    var written = new StringBuilder();
    write(value, written);
    return written.toString();
  }

  private static void write(Object value, StringBuilder to) {
    if (value instanceof Map<?, ?> map) {
      var separator = "{";
      for (var entry : map.entrySet()) {
        to.append(separator);
        write(entry.getKey().toString(), to);
        to.append(':');
        write(entry.getValue(), to);
        separator = ",";
      }
      to.append(map.isEmpty() ? "{}" : "}");
    } else if (value instanceof Iterable<?> list) {
      to.append('[');
      var separator = "";
      for (var element : list) {
        to.append(separator);
        write(element, to);
        separator = ",";
      }
      to.append(']');
    } else if (value == null || value instanceof Number || value instanceof Boolean) {
      to.append(value);
    } else {
      to.append('"');
      value.toString().chars().forEach(c -> {
        if (c < ' ' || c == '"' || c == '\\') {
          to.append(String.format("\\u%04x", c));
        } else {
          to.append((char) c);
        }
      });
      to.append('"');
    }
  }

  private Object value() {
    space();
    switch (peek()) {
      case '{' -> {
        Map<String, Object> map = new LinkedHashMap<>();
        at++;
        for (space(); peek() != '}'; space()) {
          if (!map.isEmpty()) {
            expect(',');
            space();
          }
          var name = string();
          space();
          expect(':');
          map.put(name, value());
        }
        at++;
        return map;
      }
      case '[' -> {
        List<Object> list = new ArrayList<>();
        at++;
        for (space(); peek() != ']'; space()) {
          if (!list.isEmpty()) {
            expect(',');
          }
          list.add(value());
        }
        at++;
        return list;
      }
      case '"' -> {
        return string();
      }
      default -> {
        return word();
      }
    }
  }

  private Object word() {
    int start = at;
    while (at < text.length() && ",]} \t\r\n".indexOf(text.charAt(at)) < 0) {
      at++;
    }
    var word = text.substring(start, at);
    return switch (word) {
      case "null" -> null;
      case "true" -> true;
      case "false" -> false;
      default -> {
        if (word.matches("-?\\d{1,18}")) {
          yield Long.valueOf(word);
        }
        yield Double.valueOf(word);
      }
    };
  }

  private String string() {
    expect('"');
    var string = new StringBuilder();
    while (peek() != '"') {
      char c = text.charAt(at++);
      if (c == '\\') {
        c = text.charAt(at++);
        switch (c) {
          case 'b' -> c = '\b';
          case 'f' -> c = '\f';
          case 'n' -> c = '\n';
          case 'r' -> c = '\r';
          case 't' -> c = '\t';
          case 'u' -> {
            c = (char) Integer.parseInt(text.substring(at, at + 4), 16);
            at += 4;
          }
          default -> { }
        }
      }
      string.append(c);
    }
    at++;
    return string.toString();
  }

  private void space() {
    while (at < text.length() && Character.isWhitespace(text.charAt(at))) {
      at++;
    }
  }

  private char peek() {
    if (at >= text.length()) {
      throw unexpected();
    }
    return text.charAt(at);
  }

  private void expect(char c) {
    if (peek() != c) {
      throw unexpected();
    }
    at++;
  }

  private IllegalArgumentException unexpected() {
    return new IllegalArgumentException("not JSON at " + at + ": " + text);
  }
}
