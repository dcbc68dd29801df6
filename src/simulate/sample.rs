//! The sample: about thirty people, most of them ordinary, some of whom are hard to reach.
//!
//! Everything follows from the seed and from the routes in force: ids are chosen so that the weights fall on the
//! carrier that a case is about. Where an edited route leaves no such carrier, the case is sent all the same, and
//! only less is expected of it.

use std::{sync::Arc, time::Duration};

use simulators::record::CallResult;

use super::{
    case::{Case, Expect, Phone},
    people::{People, Place},
};
use crate::{
    challenge::{Channel, Method},
    config::{Config, carrier::Transport},
    number::Country,
    routing::{
        plan::{self, Choice, PlanRequest, View},
        table::SenderRotation,
    },
};

/// All cases, by when they are sent.
pub struct Sample {
    /// All at once.
    pub crowd: Vec<Case>,
    /// Among them: one whose first trunk refuses.
    pub refused: Broken,
    /// Among them: cancelled while the phone rings.
    pub cancelled: Case,
    /// When the other texts are over: its carrier drops the session without an answer.
    pub doubt: Broken,
    /// Last: its carrier is down.
    pub outage: Broken,
}

/// A case, and the carrier that must be broken for it.
pub struct Broken {
    pub case: Case,
    /// None: no such carrier is in the route any more.
    pub carrier: Option<Arc<str>>,
}

impl Sample {
    pub fn new(seed: u64, config: &Config) -> Sample {
        let mut writer = Writer {
            people: People::new(seed),
            config,
            seed,
            count: 0,
        };
        let outage = writer.outage();
        let mut crowd = writer.texts();
        crowd.extend(writer.calls());
        crowd.extend(writer.hard_to_reach());
        crowd.extend(writer.refusals());
        crowd.extend(writer.too_many());
        Sample {
            outage,
            crowd,
            refused: writer.refused_trunk(),
            cancelled: writer.cancelled(),
            doubt: writer.doubt(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.cases().count()
    }

    pub fn is_empty(&self) -> bool {
        false
    }

    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        let single = [
            &self.outage.case,
            &self.refused.case,
            &self.cancelled,
            &self.doubt.case,
        ];
        self.crowd.iter().chain(single)
    }
}

/// A text of two parts: Cyrillic, so sixteen bits a character, and longer than seventy of them.
const LONG_TEXT: &str = "Ваш код подтверждения: {code}. Никому его не сообщайте: ни банк, ни полиция никогда не спрашивают этот код.";
/// How long a challenge of the sample lives: long enough for calls, short enough to be waited for.
const LIFETIME: Duration = Duration::from_secs(90);
/// One more than the limiter lets through.
const TOO_MANY: usize = 6;
/// Ids that are tried until the weights fall as wanted.
const TRIES: usize = 500;

/// The channel's kind of carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Smpp,
    Http,
    Any,
}

struct Writer<'a> {
    people: People,
    config: &'a Config,
    seed: u64,
    count: usize,
}

impl Writer<'_> {
    fn outage(&mut self) -> Broken {
        let to = self.people.anybody(Place::Germany);
        let case = self.text("first carrier down", to, Place::Germany, Over::Http);
        self.broken(case, Place::Germany, Over::Http)
    }

    fn doubt(&mut self) -> Broken {
        let to = self.people.anybody(Place::Us);
        let case = self.text("session lost, hedged", to, Place::Us, Over::Smpp);
        let mut broken = self.broken(case, Place::Us, Over::Smpp);
        if broken.carrier.is_some() {
            let expect = &mut broken.case.expect;
            expect.hedged = true;
            expect.phone.push(Phone::Reads { parts: 1 });
        }
        broken
    }

    fn refused_trunk(&mut self) -> Broken {
        let to = self.people.anybody(Place::Us);
        let case = self.call("first trunk refuses", to, Place::Us, Method::VoiceConfirm);
        self.broken(case, Place::Us, Over::Any)
    }

    /// With the carrier that it meets first, and the one that it must then go by.
    fn broken(&self, mut case: Case, place: Place, over: Over) -> Broken {
        let method = Method::parse(case.method).unwrap_or(Method::SmsCode);
        let first = self
            .first(&case.id, place, method)
            .filter(|carrier| self.is_over(carrier, over));
        let carrier = first.and_then(|first| {
            let second = self.second(&first, place, method)?;
            case.expect = case.expect.clone().by(&[&first, &second]);
            Some(first)
        });
        Broken { case, carrier }
    }

    fn texts(&mut self) -> Vec<Case> {
        let mut cases = Vec::new();
        let ordinary = [
            ("text over SMPP", Place::Us, Over::Smpp),
            ("text over HTTP", Place::Us, Over::Http),
            ("short code of Canada", Place::Canada, Over::Any),
            ("short code of Canada", Place::Canada, Over::Any),
            ("text in Swedish", Place::Sweden, Over::Smpp),
            ("text over HTTP", Place::Sweden, Over::Http),
            ("text to Britain", Place::Britain, Over::Any),
            ("text in German", Place::Germany, Over::Any),
            ("text in French", Place::France, Over::Any),
            ("text by the default route", Place::Mexico, Over::Any),
        ];
        for (title, place, over) in ordinary {
            let to = self.people.anybody(place);
            cases.push(self.text(title, to, place, over));
        }
        let to = self.people.anybody(Place::Us);
        let mut long = self.text("two parts, UCS-2", to, Place::Us, Over::Smpp);
        long.text = Some(LONG_TEXT);
        let over_smpp = self
            .first(&long.id, Place::Us, Method::SmsCode)
            .is_some_and(|carrier| self.is_over(&carrier, Over::Smpp));
        long.expect.phone = vec![Phone::Reads {
            parts: if over_smpp { 2 } else { 1 },
        }];
        let to = self.people.anybody(Place::Us);
        let mut made = self.text("code made here", to, Place::Us, Over::Any);
        made.code = None;
        cases.extend([long, made]);
        cases
    }

    fn calls(&mut self) -> Vec<Case> {
        let calls = [
            ("approves, English", Place::Us, Method::VoiceConfirm),
            ("approves, Swedish", Place::Sweden, Method::VoiceConfirm),
            ("code read, English", Place::Us, Method::VoiceCode),
            ("code read, French", Place::Canada, Method::VoiceCode),
            ("code read, German", Place::Germany, Method::VoiceCode),
            ("code read, Spanish", Place::Mexico, Method::VoiceCode),
        ];
        calls
            .into_iter()
            .map(|(title, place, method)| {
                let to = self.people.anybody(place);
                self.call(title, to, place, method)
            })
            .collect()
    }

    /// Phones and people who won't.
    fn hard_to_reach(&mut self) -> Vec<Case> {
        use CallResult::{Busy, Declined, NoAnswer};
        let rings = [
            ("declines", Place::Us, 22, "declined", Declined),
            ("busy", Place::Britain, 20, "busy", Busy),
            ("does not answer", Place::Sweden, 21, "no_answer", NoAnswer),
        ];
        let mut cases: Vec<Case> = rings
            .into_iter()
            .map(|(title, place, nn, reason, result)| {
                let to = self.people.special(place, nn);
                let mut case = self.call(title, to, place, Method::VoiceConfirm);
                case.expect = Expect::new("undelivered", [Phone::Rings(result)]).because(reason);
                case
            })
            .collect();
        let to = self.people.special(Place::Us, 1);
        let mut off = self.text("handset off", to, Place::Us, Over::Any);
        off.expect = Expect::new("undelivered", [Phone::Misses]).because("handset_off");
        let to = self.people.special(Place::Sweden, 1);
        let mut falls = self.text("text fails, call follows", to, Place::Sweden, Over::Any);
        falls.fallback = Some(Method::VoiceCode.name());
        falls.expect = Expect::new("delivered", [Phone::Misses, Phone::Hears]);
        cases.extend([off, falls]);
        cases
    }

    fn refusals(&mut self) -> Vec<Case> {
        let refused = |mut case: Case, reason| {
            case.expect = Expect::new("rejected", []).because(reason);
            case
        };
        let to = self.people.landline();
        let landline = self.text("text to a landline", to, Place::Sweden, Over::Any);
        let to = self.people.misdialled();
        let invalid = self.text("not a number", to, Place::Us, Over::Any);
        vec![
            refused(landline, "number_type"),
            refused(invalid, "invalid_number"),
        ]
    }

    fn too_many(&mut self) -> Vec<Case> {
        let to = self.people.anybody(Place::Us);
        (1..=TOO_MANY)
            .map(|n| {
                let title = format!("asks {} in five minutes", NTH[n - 1]);
                let mut case = self.text(&title, to.clone(), Place::Us, Over::Any);
                if n == TOO_MANY {
                    case.expect = Expect::new("rejected", []).because("too_many_attempts");
                }
                case
            })
            .collect()
    }

    fn cancelled(&mut self) -> Case {
        let to = self.people.special(Place::Germany, 21);
        let mut case = self.call(
            "cancelled while it rings",
            to,
            Place::Germany,
            Method::VoiceConfirm,
        );
        case.expect = Expect::new("cancelled", [Phone::Rings(CallResult::NoAnswer)]);
        case
    }

    fn text(&mut self, title: &str, to: String, place: Place, over: Over) -> Case {
        let mut case = self.case(title, to, place, Method::SmsCode);
        let base = case.id.clone();
        let ids = (0..TRIES).map(|n| Arc::from(format!("{base}-{n}")));
        let wanted = ids.into_iter().find(|id: &Arc<str>| {
            over == Over::Any
                || self
                    .first(id, place, Method::SmsCode)
                    .is_some_and(|carrier| self.is_over(&carrier, over))
        });
        match wanted {
            Some(id) => {
                if over != Over::Any {
                    let first = self.first(&id, place, Method::SmsCode);
                    case.expect.carriers = first.into_iter().collect();
                }
                case.id = id;
            }
            None => case.id = base,
        }
        case
    }

    fn call(&mut self, title: &str, to: String, place: Place, method: Method) -> Case {
        let mut case = self.case(title, to, place, method);
        case.expect = match method {
            Method::VoiceConfirm => Expect::new("confirmed", [Phone::Approves]),
            _ => Expect::new("delivered", [Phone::Hears]),
        };
        case
    }

    fn case(&mut self, title: &str, to: String, place: Place, method: Method) -> Case {
        self.count += 1;
        Case {
            title: title.to_owned(),
            id: format!("sample-{}-{}", self.seed, self.count).into(),
            to,
            method: method.name(),
            fallback: None,
            locale: place.locale(),
            code: Some(self.people.code()),
            text: None,
            lifetime: LIFETIME,
            expect: Expect::new("delivered", [Phone::Reads { parts: 1 }]),
        }
    }

    /// The carrier that a challenge with this id meets first while all are well.
    fn first(&self, id: &str, place: Place, method: Method) -> Option<Arc<str>> {
        let table = &self.config.table;
        let turns = SenderRotation::of(table);
        let view = View {
            standing: &[],
            turns: &turns,
            refusals: &[],
        };
        let ask = PlanRequest {
            country: place.country().parse::<Country>().ok()?,
            method,
            tenant: "default",
            caller_id: None,
            tried: &[],
            avoid: None,
            hedge: false,
            roll: plan::roll(id, 1),
        };
        match plan::first(table, view, &ask) {
            Choice::Take(candidate) => table.carrier_arc(candidate.carrier).cloned(),
            Choice::Wait | Choice::Nothing => None,
        }
    }

    /// The carrier after that, where it is the only one of its tier.
    fn second(&self, first: &str, place: Place, method: Method) -> Option<Arc<str>> {
        let table = &self.config.table;
        let country = place.country().parse::<Country>().ok()?;
        let (_, lines) = table.route(country, method.channel());
        let others = lines
            .iter()
            .filter(|line| line.terms.enabled && table.carrier_name(line.carrier) != first);
        let tier = others.clone().map(|line| line.terms.tier).min()?;
        let mut next = others.filter(|line| line.terms.tier == tier);
        let only = table.carrier_arc(next.next()?.carrier)?;
        next.all(|line| table.carrier_name(line.carrier) == &**only)
            .then(|| only.clone())
    }

    fn is_over(&self, carrier: &str, over: Over) -> bool {
        let transport = self.config.carriers.get(carrier).map(|c| &c.transport);
        match over {
            Over::Smpp => matches!(transport, Some(Transport::Smpp(_))),
            Over::Http => matches!(transport, Some(Transport::Http(_))),
            Over::Any => true,
        }
    }
}

const NTH: [&str; TOO_MANY] = ["once", "twice", "thrice", "4 times", "5 times", "6 times"];

/// The carriers that serve a country's channel, the first tier first.
pub fn carriers_of(config: &Config, country: &str, channel: Channel) -> Vec<Arc<str>> {
    let Ok(country) = country.parse::<Country>() else {
        return Vec::new();
    };
    let (_, lines) = config.table.route(country, channel);
    let mut names: Vec<Arc<str>> = Vec::new();
    for line in lines.iter().filter(|line| line.terms.enabled) {
        let name = config.table.carrier_arc(line.carrier).cloned();
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}
