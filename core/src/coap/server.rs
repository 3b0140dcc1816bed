//! Requests of peers', and their answers (RFC 7252 §5.2).
//!
//! 1. A request that arrived before is answered as it was (see [`Seen`]).
//! 2. One that cannot be understood is answered at once: 4.02 for a critical option, 4.00 for a nonsensical block or
//!    Hop-Limit, 5.05 for a proxy's, 5.03 where no place may be given to it; and 4.01 with an Echo option (RFC 9175) where too
//!    much has gone to addresses that may be spoofed.
//! 3. All others go to the host, which answers: at once, and the response rides on the acknowledgement; or later, after
//!    an acknowledgement that goes out by itself, in a message of its own.
//!
//! Nothing is kept of a transfer: each block is a request of its own.

use super::{
    block::Bits,
    code::Code,
    config::Stats,
    echo::{LARGE, SMALL},
    endpoint::{Endpoint, Error, UNKNOWN, tag},
    event::{Reply, RequestId, flag},
    flight::{NONE, Owner, part},
    message::{Message, Type},
    option,
    outline::{Outline, check_reply, own},
    raw::{Kind, Told},
    seen::{Answer, Seen, flag as known},
    ticks::{Tick, is_over},
    uri::decimal,
};
use crate::{Capacity, Instant, Misuse, Peer, wire::Writer};

impl Endpoint<'_> {
    /// Answers a request. Where there is an acknowledgement still to be sent, the response rides on it.
    ///
    /// Of the body the block goes out that was asked for, and the block sizes that both sides can take are agreed on
    /// (RFC 7959 §2.4). A block past the end is answered 4.00. A response to a NON request is NON.
    ///
    /// # Errors
    /// [`Misuse::UnknownId`]: it is answered already, or so old that its client has given up. [`Misuse::InvalidOption`]: an
    /// option is out of order, of a wrong length, or one that the endpoint writes itself. [`Misuse::OutOfRange`]: the part
    /// given does not hold what is [`wanted`](RequestId::wanted), or the code is no response.
    /// [`Capacity::Arena`], [`Capacity::InFlight`]: no room now; try again later.
    #[inline]
    pub fn respond(&mut self, now: Instant, id: &RequestId, reply: &Reply<'_>) -> Result<(), Error> {
        self.tick(now);
        check_reply(reply.options)?;
        if !reply.code.is_response() {
            return Err(Misuse::OutOfRange.into());
        }
        self.answer(id, reply, false)
    }

    /// Answers by a reply that is checked, or by a challenge.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn answer(&mut self, id: &RequestId, reply: &Reply<'_>, mut challenged: bool) -> Result<(), Error> {
        let index = self.find_seen(id.peer, id.mid).ok_or(UNKNOWN)?;
        let seen = *self.seen.get(index).ok_or(UNKNOWN)?;
        // [RFC7252-4.2-2] [RFC7252-4.3-2] [RFC7252-4.4-1] [RFC7252-5.2.2-1] [RFC7252-5.3.1-1]
        let (ty, mid) = match seen.answer() {
            Answer::Pending if seen.is(known::CONFIRMABLE) => (Type::Acknowledgement, id.mid),
            Answer::Pending => (Type::NonConfirmable, self.mid),
            Answer::Acked => (Type::Confirmable, self.mid),
            _ => return Err(UNKNOWN),
        };
        let (offset, size) = id.wanted();
        let success = reply.code.is_success();
        let offset = if success { offset } else { 0 };
        let mut outline = Outline::new(ty, reply.code, mid, &id.token);
        outline.base.listed = reply.options;
        // [RFC7959-2.3-1] [RFC7959-2.3-5] [RFC7959-2.4-2] [RFC7959-2.4-5]
        let total = outline.cut(&reply.body, offset, size).ok_or(Misuse::OutOfRange)?;
        if offset != 0 && offset >= total {
            outline.code = Code::BAD_REQUEST;
            outline.base.listed = &[];
        } else if success && reply.code != Code::CONTINUE && (id.block2.is_some() || total > size) {
            // Far below 2^32: an offset has 30 bits.
            let more = offset.wrapping_add(size) < total;
            outline.uint(own::BLOCK2, Some(Bits::at(offset, more, id.szx).get()));
            if id.is(flag::SIZE2) || (offset == 0 && more) {
                outline.uint(own::SIZE2, Some(total));
            }
        }
        let code = outline.code;
        if !challenged && !id.wants(code, outline.payload.is_empty()) {
            // RFC 7967 §2: nothing but the acknowledgement of a CON.
            self.answered(index, Answer::Done, code, ty == Type::Acknowledgement);
            return Ok(());
        }
        // RFC 7959 §2.5: the size we would rather have comes back with the number of the block; §2.3: a response that is final
        // has no M bit, and what has one has no Block2. [RFC7959-2.3-4]
        let told = matches!(code, Code::REQUEST_ENTITY_TOO_LARGE | Code::REQUEST_ENTITY_INCOMPLETE);
        if let Some(block) = id.block1.filter(|_| told || code.is_success()) {
            let szx = block.szx().min(self.config.szx);
            outline.uint(own::BLOCK1, Some(block.with(block.more() && code == Code::CONTINUE, szx).get()));
        }
        // [RFC7641-4.1-3] [RFC7641-4.1-5]
        let accepted = reply.observe.filter(|_| id.observes() && code.is_success());
        let mut place = accepted.map_or(NONE, |_| self.observer_place(id));
        outline.uint(own::OBSERVE, (place != NONE).then_some(self.sequence));
        if !id.is_proven() && !self.reach.knows(id.peer) {
            let len = outline.len();
            // What is not safe has been done: it cannot be asked for again.
            challenged |= len > SMALL && !self.spend(len) && id.is(flag::SAFE);
        }
        let echo;
        if challenged {
            Stats::count(&mut self.stats.challenged);
            // RFC 9175 §2.4: never in a message that is sent again by itself.
            let ty = if ty == Type::Confirmable { Type::NonConfirmable } else { ty };
            outline = Outline::new(ty, Code::UNAUTHORIZED, mid, &id.token);
            echo = self.echo(id.peer);
            outline.echo = &echo;
            place = NONE;
        }
        let (answer, due) = if outline.ty == Type::Confirmable {
            let flight = self.place();
            if flight == NONE {
                return Err(Capacity::InFlight.into());
            }
            self.keep(tag::SEPARATE.of(flight), &outline).ok_or(Capacity::Arena)?;
            self.take_off(Owner::Response, 0, id.peer);
            (Answer::Done, seen.is(known::DUE))
        } else {
            self.keep(tag::REPLY.of(index), &outline).ok_or(Capacity::Arena)?;
            if outline.ty == Type::NonConfirmable {
                self.mid = mid.wrapping_add(1);
            }
            let later = id.is_multicast() && !is_over(self.now, seen.at);
            if later { (Answer::Leisure, false) } else { (Answer::Replied, true) }
        };
        self.answered(index, answer, outline.code, due);
        if let (true, Some(resource)) = (place != NONE, reply.observe) {
            self.register(place, id, resource);
        }
        Ok(())
    }

    /// Acknowledges a request whose response will take a while (RFC 7252 §5.2.2). After
    /// [`Config::ack_delay`](super::Config::ack_delay) that happens by itself.
    ///
    /// # Errors
    /// [`Misuse::UnknownId`]: it is answered or acknowledged already.
    pub fn acknowledge(&mut self, now: Instant, id: &RequestId) -> Result<(), Error> {
        self.tick(now);
        let index = self.find_seen(id.peer, id.mid).ok_or(UNKNOWN)?;
        match self.seen.get(index) {
            Some(seen) if seen.answer() == Answer::Pending => {
                if seen.is(known::CONFIRMABLE) {
                    self.answered(index, Answer::Acked, Code::EMPTY, true);
                }
                Ok(())
            }
            _ => Err(UNKNOWN),
        }
    }

    fn answered(&mut self, index: usize, answer: Answer, code: Code, due: bool) {
        if let Some(seen) = self.seen.get_mut(index) {
            seen.set(answer, due);
            seen.code = code;
        }
    }

    /// Answers at once, without a body or by a challenge.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn dismiss(&mut self, id: &RequestId, code: Code, text: &[u8]) -> Result<(), Error> {
        self.answer(id, &Reply::new(code, text), code == Code::UNAUTHORIZED)
    }

    /// Answers at once: 4.02 with the number of the option, 4.01 by a challenge, all else by its code alone. Without room for
    /// it the message counts as lost.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn refuse(&mut self, index: usize, id: &RequestId, code: Code, option: u16) {
        let mut text = [0; 16];
        let mut w = Writer::new(&mut text);
        if code == Code::BAD_OPTION {
            // RFC 7252 §5.4.1: a diagnostic payload. [RFC7252-5.5.2-1]
            w.bytes(b"option ");
            decimal(&mut w, option);
        }
        if self.dismiss(id, code, w.finish().unwrap_or(&[])).is_ok() {
            return;
        }
        if let Some(seen) = self.seen.get_mut(index) {
            *seen = Seen::EMPTY;
            Stats::count(&mut self.stats.dropped);
        }
    }

    /// A request arrived, by multicast perhaps.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn on_request<'i>(
        &mut self,
        peer: Peer,
        message: &Message<'i>,
        multicast: bool,
        told: &mut Told<'i>,
    ) -> Option<()> {
        let id = &mut told.request;
        let safe = if matches!(message.code, Code::GET | Code::FETCH) { flag::SAFE } else { 0 };
        let flags = flag::LIVE | safe | if multicast { flag::MULTICAST } else { 0 };
        let (mid, token, szx) = (message.id, message.token, self.config.szx);
        *id = RequestId { peer, mid, token, szx, flags, ..RequestId::NONE };
        self.read_wishes(message, id);
        let live = match self.find_seen(peer, mid) {
            Some(index) => self.on_duplicate(index, id),
            None => self.is_welcome(message, id),
        };
        if !live {
            *id = RequestId::NONE;
            return None;
        }
        told.kind = Kind::Request;
        told.peer = peer;
        (told.observe, told.multicast, told.proven) = (id.observes(), multicast, id.is_proven());
        (told.wanted_offset, told.wanted_len) = id.wanted();
        (told.code, told.options, told.payload) = (message.code, message.options, message.payload);
        if let Some(block) = id.block1 {
            (told.offset, told.more) = (block.offset(), block.more());
        }
        None
    }

    /// What the options of a request say of its answer.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn read_wishes(&mut self, message: &Message<'_>, id: &mut RequestId) {
        // [RFC7252-5.3.1-2] [RFC7959-2.2-1] [RFC7959-2.4-1]
        let mut last = 0;
        for o in message.options {
            // None of these may be there twice: the first counts.
            if core::mem::replace(&mut last, o.number) == o.number {
                continue;
            }
            let sound = match o.number {
                // [RFC7959-2.2-2] [RFC7959-2.3-1]
                option::BLOCK1 => {
                    id.block1 = Bits::decode(o.value);
                    let len = message.payload.len();
                    id.block1.is_some_and(|b| !b.more() || usize::try_from(b.size()) == Ok(len))
                }
                option::BLOCK2 => {
                    let block = Bits::decode(o.value);
                    if let Some(block) = block {
                        id.szx = id.szx.min(block.szx());
                        id.block2 = Some(Bits::at(block.offset(), false, id.szx));
                    }
                    block.is_some()
                }
                option::OBSERVE => {
                    id.flags |= match o.uint().filter(|_| o.value.len() <= 3) {
                        Some(0) => flag::OBSERVE,
                        Some(1) => flag::LEAVE,
                        _ => 0,
                    };
                    true
                }
                option::SIZE2 => {
                    id.flags |= flag::SIZE2;
                    true
                }
                option::ECHO => {
                    if self.shows(id.peer, o.value) {
                        id.flags |= flag::PROVEN;
                    }
                    true
                }
                // RFC 7967 §2.1: of other bits no meaning is known.
                option::NO_RESPONSE => {
                    id.quiet = match o.value {
                        [] => 1,
                        [classes] => 1 | u16::from(classes & 0x1A) << 1,
                        _ => 0,
                    };
                    true
                }
                // [RFC7252-5.7.2-1] [RFC7252-5.10.2-2] [RFC7252-5.10.2-3]
                option::PROXY_URI | option::PROXY_SCHEME => {
                    id.flags |= flag::PROXIED;
                    true
                }
                // RFC 8768 §3.
                option::HOP_LIMIT => o.uint().is_some_and(|hops| (1..=255).contains(&hops)),
                _ => true,
            };
            if !sound {
                id.flags |= flag::UNSOUND;
            }
        }
        // RFC 7959 §2.6: an observation begins with the first block; of other methods there is none.
        if !id.is(flag::SAFE) {
            id.flags &= !(flag::OBSERVE | flag::LEAVE);
        }
        if id.is_further() {
            id.flags &= !flag::OBSERVE;
        }
    }

    /// A request that did not arrive before. Whether it is to be handled.
    #[cfg_attr(feature = "opt-size", inline(never))]
    fn is_welcome(&mut self, message: &Message<'_>, id: &RequestId) -> bool {
        let confirmable = message.ty == Type::Confirmable;
        // A block of a body may come twice: by its offset the host knows that it has it. A further block of a response
        // (RFC 7959 §2.7) has been brought about by the request for the first.
        let harmless =
            message.code.is_idempotent() || id.is_further() || id.block1.is_some_and(|b| b.more() || b.num() != 0);
        // A proxy passes on what is not known but safe to forward (§5.4.2).
        let proxy = self.config.proxy;
        let proxied = id.is(flag::PROXIED);
        let refused = option::first_not_understood(message.options, self.config.understood, false)
            .filter(|number| !proxied || !proxy || option::is_unsafe(*number));
        let verdict = if refused.is_some() {
            Stats::count(&mut self.stats.refused);
            if !confirmable {
                // RFC 7252 §5.4.1: a NON request is rejected, which may be done in silence (§4.3).
                return false;
            }
            Code::BAD_OPTION
        } else if proxied && !proxy {
            Code::PROXYING_NOT_SUPPORTED
        } else if id.is(flag::UNSOUND) {
            Code::BAD_REQUEST
        } else if !harmless && !self.may_hold() {
            Code::SERVICE_UNAVAILABLE
        } else if !id.is(flag::SAFE | flag::PROVEN) && !self.reach.knows(id.peer) && self.credit() < LARGE {
            Code::UNAUTHORIZED
        } else {
            Code::EMPTY
        };
        let welcome = verdict == Code::EMPTY;
        let flags =
            if confirmable { known::CONFIRMABLE } else { 0 } | if harmless || !welcome { known::HARMLESS } else { 0 };
        let mut seen = Seen::new(id.peer, id.mid, Answer::Pending, flags);
        if id.is_multicast() {
            seen.at = self.leisure();
        }
        let Some(index) = self.remember(seen) else { return false };
        if !welcome {
            self.refuse(index, id, verdict, refused.unwrap_or(0));
        } else if id.is(flag::LEAVE) {
            // [RFC7641-4.1-4]
            self.deregister(id);
        }
        welcome
    }

    /// A random part of the leisure (RFC 7252 §8.2).
    fn leisure(&mut self) -> Tick {
        // 8 ms are 125 ticks.
        part(u32::from(self.config.leisure).wrapping_mul(125) >> 3, self.secret.draw())
    }

    /// A request that arrived before. Whether it is to be handled again.
    fn on_duplicate(&mut self, index: usize, id: &RequestId) -> bool {
        Stats::count(&mut self.stats.duplicates);
        let Some(seen) = self.seen.get_mut(index).filter(|s| s.is(known::CONFIRMABLE)) else { return false };
        match seen.answer() {
            // [RFC7252-4.2-7] [RFC7252-5.2.2-2]
            Answer::Acked | Answer::Done | Answer::Replied => seen.fall_due(),
            Answer::Forgotten => {
                seen.set(Answer::Pending, false);
                if seen.is(known::HARMLESS) {
                    return true;
                }
                let code = seen.code;
                if self.dismiss(id, code, &[]).is_err() {
                    self.answered(index, Answer::Forgotten, code, false);
                }
            }
            _ => {}
        }
        false
    }
}
