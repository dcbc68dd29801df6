//! Carriers that come back.

use super::*;

const SHORT: &str = "+12025550101";
const LONG: &str = "+12025550102";

#[test]
fn a_carrier_that_comes_back_is_tried_with_the_challenge_that_has_most_life_left() {
    story(|story| {
        let names: Vec<Arc<str>> = story.config.used().into_iter().collect();
        for name in &names {
            let reason = "reset".into();
            story.said(name, CarrierEvent::Link(Link::Down { reason }));
        }
        // The one with the earliest deadline stands in front.
        story.ask_within("short", SHORT, 30);
        story.ask_within("long", LONG, 300);
        story.passes(Duration::from_secs(1));
        assert!(story.orders.is_empty(), "nobody is there");
        for name in &names {
            story.said(name, CarrierEvent::Link(Link::Up));
            if !story.orders.is_empty() {
                break;
            }
        }
        story.passes(Duration::from_secs(1));
        let (carrier, order) = story.order();
        assert_eq!(order.to.e164(), LONG, "one at a time");
        let references = vec!["1".into()];
        story.answers(&carrier, &order, AttemptEvent::Accepted { references });
        story.passes(Duration::from_secs(1));
        let (_, order) = story.order();
        assert_eq!(order.to.e164(), SHORT, "it is well");
    });
}
