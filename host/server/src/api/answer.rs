//! The forms that answers have: errors, pages of a list, times.

use std::collections::HashMap;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// Items of a page when the client does not say.
const ITEMS_PER_PAGE: usize = 100;

/// A refusal: `{"status":"error","error":"…"}` with its code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Error(pub(crate) StatusCode, pub(crate) &'static str);

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        refusal(self.0, self.1)
    }
}

/// A refusal in words that are made for it.
pub(crate) fn refusal(code: StatusCode, error: &str) -> Response {
    (code, Json(serde_json::json!({ "status": "error", "error": error }))).into_response()
}

/// Success without data.
pub(crate) fn ok() -> Response {
    Json(serde_json::json!({ "status": "ok" })).into_response()
}

/// The parameters of a request's query.
pub(crate) type Parameters = HashMap<String, String>;

/// A page of a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    item_count: usize,
    page_count: usize,
    items: Vec<T>,
}

impl<T> Page<T> {
    /// The page of `all` that `itemsPerPage` and `page` ask for. Only its own items are shown, the rest costs nothing.
    pub(crate) fn of<A>(all: &[A], query: &Parameters, show: impl Fn(&A) -> T) -> Result<Page<T>, Error> {
        let per_page = number(query, "itemsPerPage", "invalid itemsPerPage")?.unwrap_or(ITEMS_PER_PAGE);
        let page = number(query, "page", "invalid page")?.unwrap_or(0);
        if per_page == 0 {
            return Err(Error(StatusCode::BAD_REQUEST, "invalid itemsPerPage"));
        }
        let items = all
            .iter()
            .skip(page.saturating_mul(per_page))
            .take(per_page)
            .map(show)
            .collect();
        Ok(Page {
            item_count: all.len(),
            page_count: all.len().div_ceil(per_page),
            items,
        })
    }
}

fn number(query: &Parameters, name: &str, wrong: &'static str) -> Result<Option<usize>, Error> {
    let Some(text) = query.get(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let number = text
        .parse::<u32>()
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.map(Some).ok_or(Error(StatusCode::BAD_REQUEST, wrong))
}

/// Microseconds since 1970 as RFC 3339 in UTC, with as many digits of the second as it needs.
pub(crate) fn time(micros: u64) -> String {
    let time = i64::try_from(micros)
        .ok()
        .and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(count: usize, query: &[(&str, &str)]) -> Result<(usize, usize, Vec<usize>), Error> {
        let query = query
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let all: Vec<usize> = (0..count).collect();
        Page::of(&all, &query, |n| *n).map(|page| (page.item_count, page.page_count, page.items))
    }

    #[test]
    fn a_list_comes_in_pages() {
        assert_eq!(page(0, &[]), Ok((0, 0, vec![])));
        assert_eq!(page(5, &[("itemsPerPage", "2")]), Ok((5, 3, vec![0, 1])));
        assert_eq!(page(5, &[("itemsPerPage", "2"), ("page", "2")]), Ok((5, 3, vec![4])));
        assert_eq!(page(5, &[("itemsPerPage", "2"), ("page", "3")]), Ok((5, 3, vec![])));
        assert_eq!(
            page(5, &[("itemsPerPage", "2147483647"), ("page", "2147483647")]),
            Ok((5, 1, vec![]))
        );
        assert_eq!(page(250, &[("page", "")]).unwrap().2.len(), 100);
    }

    #[test]
    fn a_page_that_is_no_number_is_an_error() {
        for (name, value) in [
            ("itemsPerPage", "0"),
            ("itemsPerPage", "-1"),
            ("page", "+1"),
            ("page", "x"),
            ("page", "1e3"),
        ] {
            assert_eq!(
                page(5, &[(name, value)]).unwrap_err().0,
                StatusCode::BAD_REQUEST,
                "{name}={value}"
            );
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(1_732_289_613_120_000), "2024-11-22T15:33:33.12Z");
        assert_eq!(time(u64::MAX), "1970-01-01T00:00:00Z");
    }
}
