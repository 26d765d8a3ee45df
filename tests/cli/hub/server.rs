//! A server on this machine that answers as it is told, and remembers what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What it was asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// Where the range begins that is wanted, if one is.
    pub(super) from: Option<usize>,
    pub(super) authorization: Option<String>,
}

/// What it answers.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    /// All of the file: the server takes care of ranges.
    pub(super) body: Vec<u8>,
    /// Where the connection breaks off, in the bytes that are sent.
    pub(super) cut: Option<usize>,
    /// From there on a byte at a time comes, and no end.
    pub(super) drips: bool,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None, drips: false }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

pub(super) struct Server {
    /// What addresses on it begin with.
    pub(super) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(super) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (asked, answer) = (requests.clone(), Arc::new(answer));
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, answer) = (asked.clone(), answer.clone());
                thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    asked.lock().unwrap().push(request.clone());
                    // Whoever has heard enough hangs up.
                    let _ = send(stream, &request, answer(&request));
                });
            }
        });
        Self { url, requests }
    }

    /// All that it was asked.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split(' ').map(str::to_owned);
    let mut request = Request { method: words.next()?, path: words.next()?, ..Request::default() };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match &*name.to_ascii_lowercase() {
            "range" => request.from = value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok(),
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(request)
}

fn send(mut stream: TcpStream, request: &Request, mut reply: Reply) -> std::io::Result<()> {
    let length = reply.body.len();
    let mut body = &reply.body[..];
    if let Some(from) = request.from.filter(|_| reply.status == 200) {
        if from >= length {
            (reply.status, body) = (416, &[]);
        } else {
            reply.status = 206;
            body = &body[from..];
            reply.headers.push(("Content-Range", format!("bytes {from}-{}/{length}", length - 1)));
        }
    }
    write!(stream, "HTTP/1.1 {} x\r\nConnection: close\r\n", reply.status)?;
    if reply.headers.iter().all(|(name, _)| *name != "Content-Length") {
        write!(stream, "Content-Length: {}\r\n", body.len())?;
    }
    for (name, value) in &reply.headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "\r\n")?;
    if request.method == "HEAD" {
        return Ok(());
    }
    let sent = reply.cut.unwrap_or(body.len()).min(body.len());
    stream.write_all(&body[..sent])?;
    for byte in body[sent..].iter().filter(|_| reply.drips) {
        thread::sleep(Duration::from_millis(10));
        stream.write_all(&[*byte])?;
    }
    Ok(())
}
