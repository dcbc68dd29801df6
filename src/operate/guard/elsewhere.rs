//! Requests that a browser makes for a page of another site. Pure.
//!
//! A page anywhere may send a request here without being asked first, as long as it looks like a form's; it can't read
//! the answer, but what the request does would be done. Browsers say where such a request comes from.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Whether a page of another site acts by this request, or loads it into itself. To follow a link here is no act.
pub fn acts(method: &Method, headers: &HeaderMap) -> bool {
    let safe = matches!(*method, Method::GET | Method::HEAD);
    let site = headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
    let foreign = matches!(site, Some(site) if site != b"same-origin" && site != b"none");
    let followed = safe
        && headers
            .get(FETCH_MODE)
            .is_some_and(|mode| mode.as_bytes() == b"navigate");
    (foreign && !followed) || (!safe && another_origin(headers))
}

/// A body of a kind that a form can send from any site and that can hold JSON: clients of ours have no reason to.
/// (`application/x-www-form-urlencoded`, which curl writes by itself, can't: a browser escapes what JSON is made of.)
pub fn is_form(method: &Method, headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let begins = |name: &[u8]| {
        kind.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    !matches!(*method, Method::GET | Method::HEAD)
        && (begins(b"text/plain") || begins(b"multipart/form-data"))
}

/// `Origin` (RFC 6454, 7) is not the host that is asked.
fn another_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok());
    let Some((scheme, origin)) = origin.to_str().ok().and_then(|o| o.split_once("://")) else {
        return true;
    };
    let usual = match scheme {
        "https" => ":443",
        _ => ":80",
    };
    let plain = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.strip_suffix(usual).map(str::to_owned).unwrap_or(name)
    };
    host.is_none_or(|host| plain(host) != plain(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn another_sites_page_may_not_act() {
        let post = |origin: &str| {
            acts(
                &Method::POST,
                &headers(&[("origin", origin), ("host", "127.0.0.1:8082")]),
            )
        };
        assert!(!post("http://127.0.0.1:8082"));
        for foreign in [
            "https://evil.example",
            "null",
            "",
            "http://127.0.0.1:8080",
            "http://localhost:8082",
        ] {
            assert!(post(foreign), "{foreign}");
        }
        assert!(!acts(&Method::POST, &HeaderMap::new()));
        let usual_port = headers(&[("origin", "http://gw.example"), ("host", "GW.example:80")]);
        assert!(!acts(&Method::DELETE, &usual_port));
    }

    #[test]
    fn what_the_browser_says_of_the_site_counts() {
        let from = |site: &str, mode: &str| {
            headers(&[
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("host", "localhost"),
            ])
        };
        for site in ["cross-site", "same-site", "new-word"] {
            assert!(acts(&Method::POST, &from(site, "navigate")), "{site}");
            assert!(acts(&Method::GET, &from(site, "no-cors")), "{site}");
            assert!(!acts(&Method::GET, &from(site, "navigate")), "a link");
        }
        for site in ["same-origin", "none"] {
            assert!(!acts(&Method::POST, &from(site, "cors")), "{site}");
        }
    }

    #[test]
    fn what_a_form_can_send_as_json_is_told_by_its_type() {
        let is_form = |kind: &str| is_form(&Method::POST, &headers(&[("content-type", kind)]));
        assert!(is_form("text/plain"));
        assert!(is_form("Text/Plain; charset=utf-8"));
        assert!(is_form("multipart/form-data; boundary=x"));
        assert!(!is_form("application/json"));
        assert!(!is_form("application/x-www-form-urlencoded"));
        assert!(!is_form(""));
    }
}
