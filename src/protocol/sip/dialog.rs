//! Dialogs (RFC 3261 12): what both ends have agreed on, from the response that made it. Enough to route every
//! further request, and nothing else.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::codec::{Address, HeaderName, Message, Uri};
use super::transport::Transport;

/// The most hops of a route set that are kept.
pub const MAX_ROUTES: usize = 16;
const SIP_PORT: u16 = 5060;

/// One end's view of a dialog.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    pub call_id: String,
    /// Our From value, tag and all.
    pub local: String,
    /// Their To value, tag and all.
    pub remote: String,
    pub local_tag: String,
    pub remote_tag: String,
    /// The Route header's values, in order (12.1.2).
    pub routes: Vec<String>,
    /// The remote target.
    pub target: String,
    /// The last CSeq we used.
    pub cseq: u32,
    /// The last CSeq they used.
    pub remote_cseq: Option<u32>,
}

private_debug!(Dialog);

impl Dialog {
    /// From a response to our INVITE (12.1.2). Without a usable Contact the Request-URI stays the target; without a To
    /// tag the remote tag is empty.
    /// `from` is the INVITE's own From. What the peer has written into To goes back as it stands, unless that is not by
    /// the grammar.
    pub fn from_response(response: &Message, request_uri: &str, from: &str) -> Option<Dialog> {
        let mut routes: Vec<String> = response
            .values(HeaderName::RecordRoute)
            .map(str::to_owned)
            .take(MAX_ROUTES)
            .collect();
        routes.reverse();
        Some(Dialog {
            call_id: response.call_id().to_owned(),
            local: from.to_owned(),
            remote: match response.header(HeaderName::To) {
                Some(to) if Address::parse(to).is_ok() => to.to_owned(),
                Some(_) | None => tagged(request_uri, response.to_tag()),
            },
            local_tag: Address::parse(from).ok()?.tag()?.to_owned(),
            remote_tag: response.to_tag().unwrap_or("").to_owned(),
            routes,
            target: contact(response).unwrap_or_else(|| request_uri.to_owned()),
            cseq: response.cseq(),
            remote_cseq: None,
        })
    }

    /// Request-URI and Route values of a request within the dialog (12.2.1.1).
    pub fn request_route(&self) -> (String, Vec<String>) {
        let first = self
            .routes
            .first()
            .and_then(|route| Address::read(route).ok());
        let strict = first.filter(|a| Uri::parse(a.uri).is_ok_and(|uri| uri.param("lr").is_none()));
        match strict {
            None => (self.target.clone(), self.routes.clone()),
            Some(first) => {
                let rest = self.routes.iter().skip(1).cloned();
                (
                    first.uri.to_owned(),
                    rest.chain([format!("<{}>", self.target)]).collect(),
                )
            }
        }
    }

    /// Where the next request goes: the first route, else the target, where its host is an address. A name stays
    /// with the trunk that took the INVITE, `fallback`: the machine resolves nothing, and a trunk's own name is best
    /// reached through the trunk.
    pub fn next_hop(&self, fallback: (SocketAddr, Transport)) -> (SocketAddr, Transport) {
        let route = self
            .routes
            .first()
            .and_then(|route| Address::read(route).ok())
            .map(|address| address.uri);
        let Ok(uri) = Uri::parse(route.unwrap_or(&self.target)) else {
            return fallback;
        };
        let host = uri.host.trim_start_matches('[').trim_end_matches(']');
        let (Ok(ip), false) = (host.parse::<IpAddr>(), uri.secure) else {
            return fallback;
        };
        let transport = match uri.param("transport") {
            Some(name) if name.eq_ignore_ascii_case("tcp") => Transport::Tcp,
            Some(name) if name.eq_ignore_ascii_case("udp") => Transport::Udp,
            Some(_) => return fallback,
            None => fallback.1,
        };
        // Never an address that reaches more or other than one peer.
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        if ip.is_unspecified() || ip.is_multicast() || broadcast {
            return fallback;
        }
        (
            SocketAddr::new(ip, uri.port.filter(|port| *port != 0).unwrap_or(SIP_PORT)),
            transport,
        )
    }

    /// A target refresh (12.2.1.2): the Contact of a re-INVITE or UPDATE.
    pub fn refresh_target(&mut self, request: &Message) {
        if let Some(target) = contact(request) {
            self.target = target;
        }
    }

    /// Does this request of theirs belong here (12.2.2)?
    pub fn owns(&self, request: &Message) -> bool {
        request.call_id() == self.call_id
            && request.to_tag() == Some(&self.local_tag)
            && request.from_tag().unwrap_or("") == self.remote_tag
    }
}

fn tagged(uri: &str, tag: Option<&str>) -> String {
    match tag {
        Some(tag) => format!("<{uri}>;tag={tag}"),
        None => format!("<{uri}>"),
    }
}

fn contact(message: &Message) -> Option<String> {
    message
        .values(HeaderName::Contact)
        .find_map(|value| Uri::mended(Address::read(value).ok()?.uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialog(record_routes: &str, contact: &str) -> Dialog {
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=f\r\n\
             To: <sip:c@d>;tag=t\r\nCall-ID: i\r\nCSeq: 3 INVITE\r\n{record_routes}{contact}\r\n"
        );
        let response = Message::parse(text.as_bytes()).expect("a good response");
        Dialog::from_response(&response, "sip:c@d", "<sip:a@b>;tag=f").expect("a dialog")
    }

    fn hop(dialog: &Dialog) -> String {
        let fallback = (
            "198.51.100.9:5070".parse().expect("an address"),
            Transport::Udp,
        );
        let (to, transport) = dialog.next_hop(fallback);
        format!("{transport:?} {to}")
    }

    #[test]
    fn loose_routes_are_followed_backwards() {
        let d = dialog(
            "Record-Route: <sip:192.0.2.7;lr>, <sip:192.0.2.8:5062;lr;transport=tcp>\r\n",
            "Contact: <sip:x@192.0.2.9:5099>\r\n",
        );
        let (uri, routes) = d.request_route();
        assert_eq!(uri, "sip:x@192.0.2.9:5099");
        assert_eq!(
            routes,
            [
                "<sip:192.0.2.8:5062;lr;transport=tcp>",
                "<sip:192.0.2.7;lr>"
            ]
        );
        assert_eq!(hop(&d), "Tcp 192.0.2.8:5062");
        assert_eq!(
            (d.cseq, d.local_tag.as_str(), d.remote_tag.as_str()),
            (3, "f", "t")
        );
    }

    #[test]
    fn a_strict_router_gets_itself_as_request_uri() {
        let d = dialog(
            "Record-Route: <sip:192.0.2.7;lr>, <sip:192.0.2.8>\r\n",
            "Contact: <sip:x@192.0.2.9>\r\n",
        );
        let (uri, routes) = d.request_route();
        assert_eq!(uri, "sip:192.0.2.8");
        assert_eq!(routes, ["<sip:192.0.2.7;lr>", "<sip:x@192.0.2.9>"]);
    }

    #[test]
    fn names_and_addresses_of_many_stay_with_the_trunk() {
        for contact in [
            "sip:x@host.example",
            "sip:x@255.255.255.255",
            "sip:x@224.0.0.1",
            "sip:x@0.0.0.0",
            "sips:x@192.0.2.9",
        ] {
            let d = dialog("", &format!("Contact: <{contact}>\r\n"));
            assert_eq!(hop(&d), "Udp 198.51.100.9:5070", "{contact}");
        }
        assert_eq!(
            hop(&dialog("", "Contact: <sip:x@[2001:db8::1]>\r\n")),
            "Udp [2001:db8::1]:5060"
        );
        assert_eq!(dialog("", "").target, "sip:c@d");
    }
}
