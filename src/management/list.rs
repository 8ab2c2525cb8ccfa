//! Lists as the HTTP API gives them: by page, sorted, filtered by name, with some columns only (behaviour §9).

use axum::http::StatusCode;
use axum::response::Response;
use fancy_regex::Regex;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::error::ApiError;
use super::query::Query;

/// Items on a page unless the client says otherwise, and at most.
const PAGE_SIZE: usize = 100;
const PAGE_SIZE_MAX: usize = 500;

/// What a list has of something.
pub(super) trait Row: Serialize {
    /// What `name` filters by.
    fn name(&self) -> &str;

    /// A number to sort by, for columns that many sort by: faster than to make the whole row JSON for it.
    fn number(&self, _column: &str) -> Option<f64> {
        None
    }
}

#[derive(Serialize)]
struct Page<'a, T> {
    filtered_count: usize,
    item_count: usize,
    items: &'a [T],
    page: usize,
    page_count: usize,
    page_size: usize,
    total_count: usize,
}

/// What of a list is to be shown.
#[derive(Debug)]
pub(super) struct Cut<T> {
    items: Vec<T>,
    /// `None` when all of it is.
    page: Option<Numbers>,
}

#[derive(Clone, Copy, Debug)]
struct Numbers {
    filtered_count: usize,
    page: usize,
    page_count: usize,
    page_size: usize,
    total_count: usize,
}

/// Answers with a list.
pub(super) fn respond<T: Row>(rows: Vec<T>, query: &Query) -> Result<Response, ApiError> {
    Ok(cut(rows, query)?.respond(query))
}

/// Answers with a list that may be long: elsewhere than on the threads that serve sockets.
pub(super) async fn respond_apart<T: Row + Send + 'static>(rows: Vec<T>, query: Query) -> Result<Response, ApiError> {
    let answer = tokio::task::spawn_blocking(move || respond(rows, &query)).await;
    answer.unwrap_or_else(|_| Err(ApiError::Unavailable("the node stops".to_owned())))
}

/// Whether the order of a list and what is on a page of it follow from names alone.
pub(super) fn is_by_name(query: &Query) -> bool {
    query.get("sort").is_none_or(|column| matches!(column, "" | "name"))
}

/// Filters, sorts, and takes a page.
pub(super) fn cut<T: Row>(rows: Vec<T>, query: &Query) -> Result<Cut<T>, ApiError> {
    let total_count = rows.len();
    let mut rows = filter(rows, query)?;
    if let Some(column) = query.get("sort").filter(|column| !column.is_empty()) {
        sort(&mut rows, column);
        if query.is_set("sort_reverse") {
            rows.reverse();
        }
    }
    let Some(page) = query.get("page") else { return Ok(Cut { items: rows, page: None }) };
    let filtered_count = rows.len();
    let (page, page_size) = (page_number(page)?, page_size(query)?);
    let page_count = filtered_count.div_ceil(page_size).max(1);
    if page > page_count {
        let reason = format!("Page out of range, page: {page} page size: {page_size}, len: {filtered_count}");
        return Err(ApiError::Other("page_out_of_range", reason));
    }
    let items = rows.into_iter().skip((page - 1) * page_size).take(page_size).collect();
    Ok(Cut { items, page: Some(Numbers { filtered_count, page, page_count, page_size, total_count }) })
}

impl<T> Cut<T> {
    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    /// The same with more about each of them.
    pub(super) fn with<U>(&self, items: Vec<U>) -> Cut<U> {
        Cut { items, page: self.page }
    }
}

impl<T: Serialize> Cut<T> {
    pub(super) fn respond(&self, query: &Query) -> Response {
        match query.get("columns") {
            None => self.respond_with(&self.items),
            Some(columns) => self.respond_with(&pick_all(&self.items, columns)),
        }
    }

    fn respond_with<U: Serialize>(&self, items: &[U]) -> Response {
        let Some(Numbers { filtered_count, page, page_count, page_size, total_count }) = self.page else {
            return super::json(StatusCode::OK, items);
        };
        let item_count = items.len();
        super::json(StatusCode::OK, &Page { filtered_count, item_count, items, page, page_count, page_size, total_count })
    }
}

/// Answers with one thing, or with some columns of it.
pub(super) fn respond_with<T: Serialize>(row: &T, query: &Query) -> Response {
    match query.get("columns") {
        None => super::json(StatusCode::OK, row),
        Some(columns) => super::json(StatusCode::OK, &pick(row, columns)),
    }
}

fn filter<T: Row>(mut rows: Vec<T>, query: &Query) -> Result<Vec<T>, ApiError> {
    let Some(name) = query.get("name").filter(|name| !name.is_empty()) else { return Ok(rows) };
    if query.get("use_regex") == Some("true") {
        let regex = Regex::new(name).map_err(|error| ApiError::Other("invalid_regex", error.to_string()))?;
        rows.retain(|row| regex.is_match(row.name()).unwrap_or(false));
    } else {
        let name = name.to_lowercase();
        rows.retain(|row| row.name().to_lowercase().contains(&name));
    }
    Ok(rows)
}

fn page_number(page: &str) -> Result<usize, ApiError> {
    page.parse().ok().filter(|page| *page > 0).ok_or_else(|| invalid("page", page))
}

fn page_size(query: &Query) -> Result<usize, ApiError> {
    let Some(size) = query.get("page_size") else { return Ok(PAGE_SIZE) };
    size.parse().ok().filter(|size| (1..=PAGE_SIZE_MAX).contains(size)).ok_or_else(|| invalid("page_size", size))
}

fn invalid(parameter: &str, value: &str) -> ApiError {
    ApiError::Other("invalid_pagination_parameters", format!("{parameter}: {value}"))
}

/// By the value of a column, numbers before texts; rows without it come first.
fn sort<T: Row>(rows: &mut Vec<T>, column: &str) {
    if column == "name" {
        return rows.sort_by(|a, b| a.name().cmp(b.name()));
    }
    if rows.iter().all(|row| row.number(column).is_some()) {
        return rows.sort_by(|a, b| a.number(column).partial_cmp(&b.number(column)).unwrap_or(std::cmp::Ordering::Equal));
    }
    let mut keyed: Vec<(Key, T)> = std::mem::take(rows).into_iter().map(|row| (key(&row, column), row)).collect();
    keyed.sort_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    rows.extend(keyed.into_iter().map(|(_, row)| row));
}

#[derive(PartialEq, PartialOrd)]
enum Key {
    Nothing,
    Number(f64),
    Text(String),
}

fn key<T: Serialize>(row: &T, column: &str) -> Key {
    let row = serde_json::to_value(row).unwrap_or_default();
    match column.split('.').try_fold(&row, |value, part| value.get(part)) {
        None | Some(Json::Null) => Key::Nothing,
        Some(Json::Number(number)) => Key::Number(number.as_f64().unwrap_or_default()),
        Some(Json::String(text)) => Key::Text(text.clone()),
        Some(other) => Key::Text(other.to_string()),
    }
}

fn pick_all<T: Serialize>(rows: &[T], columns: &str) -> Vec<Json> {
    rows.iter().map(|row| pick(row, columns)).collect()
}

/// Some columns of a row; `a.b` is `b` of `a`.
fn pick<T: Serialize>(row: &T, columns: &str) -> Json {
    let row = serde_json::to_value(row).unwrap_or_default();
    let mut picked = json!({});
    for column in columns.split(',') {
        let path: Vec<&str> = column.split('.').collect();
        if let Some(value) = path.iter().try_fold(&row, |value, part| value.get(*part)) {
            put(&mut picked, &path, value.clone());
        }
    }
    picked
}

fn put(into: &mut Json, path: &[&str], value: Json) {
    let Some((first, rest)) = path.split_first() else { return *into = value };
    if !into.is_object() {
        *into = Json::Object(Map::new());
    }
    put(&mut into[*first], rest, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Serialize)]
    struct Thing {
        name: &'static str,
        n: Option<u32>,
        inner: Json,
    }

    impl Row for Thing {
        fn name(&self) -> &str {
            self.name
        }
    }

    fn things() -> Vec<Thing> {
        let thing = |name, n| Thing { name, n, inner: json!({"rate": 1.5, "other": [1]}) };
        vec![thing("b", Some(10)), thing("a", Some(9)), thing("C", None)]
    }

    fn names(rows: &[Thing]) -> Vec<&str> {
        rows.iter().map(|row| row.name).collect()
    }

    #[test]
    fn sorting_is_by_value_and_not_by_text() {
        let mut rows = things();
        sort(&mut rows, "n");
        assert_eq!(names(&rows), ["C", "a", "b"]);
        sort(&mut rows, "name");
        assert_eq!(names(&rows), ["C", "a", "b"]);
        let mut rows = things();
        sort(&mut rows, "inner.rate");
        assert_eq!(names(&rows), ["b", "a", "C"], "stable");
    }

    #[test]
    fn columns_of_columns() {
        let picked = pick(&things()[0], "name,inner.rate,inner.none,none");
        assert_eq!(picked, json!({"name": "b", "inner": {"rate": 1.5}}));
    }

    #[test]
    fn names_are_filtered_by_a_part_or_a_pattern() {
        let by = |text: &str| filter(things(), &Query::parse(text)).map(|rows| names(&rows).join(" "));
        assert_eq!(by("name=c"), Ok("C".to_owned()));
        assert_eq!(by("name=%5Ea&use_regex=true"), Ok("a".to_owned()));
        assert!(matches!(by("name=(&use_regex=true"), Err(ApiError::Other("invalid_regex", _))));
    }

    #[test]
    fn pages() {
        let status = |text: &str| respond(things(), &Query::parse(text)).map(|response| response.status());
        assert_eq!(status("page=1"), Ok(StatusCode::OK));
        assert_eq!(status("page=2&page_size=2"), Ok(StatusCode::OK));
        assert!(matches!(status("page=3&page_size=2"), Err(ApiError::Other("page_out_of_range", _))));
        for wrong in ["page=0", "page=x", "page=1&page_size=501", "page=1&page_size=0"] {
            assert!(matches!(status(wrong), Err(ApiError::Other("invalid_pagination_parameters", _))), "{wrong}");
        }
        let nothing: Vec<Thing> = Vec::new();
        assert!(respond(nothing, &Query::parse("page=1")).is_ok());
    }
}
