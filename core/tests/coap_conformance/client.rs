//! A client's cases.

use super::{Json, Names, Sent, endpoint, hex, peer};
use waft::coap::{Code, Endpoint, Event, Exchange, Opt, Reply, Request};
use waft::{Duration, Input, Instant, Output};

struct Bench {
    endpoint: Endpoint<'static>,
    now: Instant,
    sent: Sent,
    names: Names,
    told: Vec<String>,
    exchanges: Vec<Exchange>,
}

impl Bench {
    fn tell(&mut self, event: &Event<'_>) {
        let number = |exchange| self.exchanges.iter().position(|known| *known == exchange).unwrap();
        let line = match *event {
            Event::Response { exchange, code, observe, offset, payload, last, .. } => {
                let last = if last { " last" } else { "" };
                let observe = observe.map_or(String::new(), |n| format!(" observe {n}"));
                let (class, detail) = (code.class(), code.detail());
                format!("response {} {class}.{detail:02} at {offset}{last}{observe} {}", number(exchange), hex(payload))
            }
            Event::Failed { exchange, reason } => format!("failed {} {}", number(exchange), reason.name()),
            Event::Pong { .. } => "pong".into(),
            Event::Silent { .. } => "silent".into(),
            Event::Request { id, .. } => {
                self.endpoint.respond(self.now, &id, &Reply::new(Code::NOT_FOUND, b"")).unwrap();
                return;
            }
            ref other => panic!("{other:?}"),
        };
        self.told.push(line.trim_end().into());
    }

    fn drain(&mut self) {
        let mut buf = [0; 1500];
        loop {
            let event = match self.endpoint.poll_output(self.now, &mut buf) {
                Output::Transmit { peer, bytes } => {
                    self.sent.0.push((peer, bytes.to_vec()));
                    continue;
                }
                Output::Event(event) => event,
                Output::Timeout(_) => return,
                other => panic!("{other:?}"),
            };
            let number = |exchange| self.exchanges.iter().position(|known| *known == exchange).unwrap();
            match event {
                Event::Failed { exchange, reason } => {
                    self.told.push(format!("failed {} {}", number(exchange), reason.name()))
                }
                Event::Pong { .. } => self.told.push("pong".into()),
                Event::Silent { .. } => self.told.push("silent".into()),
                other => panic!("{other:?}"),
            }
        }
    }

    fn command(&mut self, step: &[Json]) -> Result<(), String> {
        match step[0].text() {
            "request" => {
                let how = &step[1];
                let text = |key: &str| match how.get(key) {
                    Json::Text(text) => text.clone(),
                    _ => String::new(),
                };
                let truth = |key: &str, otherwise: bool| match how.get(key) {
                    Json::Bool(truth) => *truth,
                    _ => otherwise,
                };
                let payload = self.names.bytes(&text("payload"));
                let host = matches!(how.get("host"), Json::Text(_)).then(|| text("host"));
                let options: Vec<(u16, Vec<u8>)> = match how.get("options") {
                    Json::List(all) => all
                        .iter()
                        .map(|o| (o.list()[0].number() as u16, self.names.bytes(o.list()[1].text())))
                        .collect(),
                    _ => Vec::new(),
                };
                let options: Vec<_> = options.iter().map(|(number, value)| Opt { number: *number, value }).collect();
                let path = text("path");
                let request = Request {
                    confirmable: truth("con", true),
                    host: host.as_deref(),
                    options: &options,
                    payload: &payload,
                    observe: truth("observe", false),
                    szx: if matches!(how.get("szx"), Json::Null) { 6 } else { how.get("szx").number() as u8 },
                    ..Request::new(Code(how.get("method").number() as u8), &path)
                };
                let to = peer(Some(how.get("peer")).filter(|peer| **peer != Json::Null));
                let exchange = self.endpoint.request(self.now, to, &request).map_err(|e| format!("{e:?}"))?;
                self.exchanges.push(exchange);
            }
            "cancel" => {
                let exchange = self.exchanges[step[1].number() as usize];
                self.endpoint.cancel(self.now, exchange).map_err(|e| format!("{e:?}"))?;
            }
            "ping" => self.endpoint.ping(self.now, peer(None)).map_err(|e| format!("{e:?}"))?,
            other => panic!("what is {other}?"),
        }
        self.drain();
        Ok(())
    }

    fn step(&mut self, step: &[Json]) -> Result<(), String> {
        match step[0].text() {
            "in" => {
                let bytes = self.names.bytes(step[1].text());
                let input = Input { peer: peer(step.get(2)), bytes: &bytes };
                let Ok(handled) = self.endpoint.handle_input(self.now, input);
                if let Some(event) = handled.event {
                    self.tell(&event);
                }
                self.drain();
            }
            "out" => return self.sent.expect(&mut self.names, &step[1], peer(step.get(2))),
            "again" => return self.sent.expect_again(&mut self.names, step[1].text()),
            "told" => {
                let told = std::mem::take(&mut self.told);
                if !step[1].list().iter().map(Json::text).eq(told.iter()) {
                    return Err(format!("told {told:?}"));
                }
            }
            "wait" => {
                let until = self.now.after(Duration::from_millis(step[1].number() as u64));
                while let Some(at) = self.endpoint.next_timeout().filter(|at| *at <= until) {
                    self.now = at;
                    self.endpoint.handle_timeout(at);
                    self.drain();
                }
                self.now = until;
                self.endpoint.handle_timeout(until);
                self.drain();
            }
            "error" => {
                let refused = self.command(step[2].list()).err().ok_or("not refused")?;
                if !refused.contains(step[1].text()) {
                    return Err(refused);
                }
            }
            _ => return self.command(step),
        }
        Ok(())
    }
}

pub fn case(case: &Json) -> Result<(), String> {
    for seed in 0..3 {
        let mut bench = Bench {
            endpoint: endpoint(6, seed),
            now: Instant::from_micros(1_000_000),
            sent: Sent::default(),
            names: Names::default(),
            told: Vec::new(),
            exchanges: Vec::new(),
        };
        for (n, step) in case.get("steps").list().iter().enumerate() {
            bench.step(step.list()).map_err(|what| format!("step {n} {:?}: {what}", step.list()))?;
        }
        bench.sent.over()?;
        if !bench.told.is_empty() {
            return Err(format!("left: {:?}", bench.told));
        }
    }
    Ok(())
}
