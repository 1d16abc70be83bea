//! Sends the response headers at once, then each piece of the request body as it comes, then its
//! trailers. Holds one piece at a time, whatever the body's length.

use wasip2::{
    http::types::{IncomingBody, IncomingRequest, OutgoingBody, ResponseOutparam},
    io::streams::StreamError,
};

wasip2::http::proxy::export!(Echo);

struct Echo;

impl wasip2::exports::http::incoming_handler::Guest for Echo {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let incoming = request.consume().expect("the body is taken once");
        let outgoing = http_answer::start(out, 200, "application/octet-stream");
        {
            let from = incoming.stream().expect("the stream is taken once");
            let to = outgoing.write().expect("the stream is taken once");
            loop {
                match to.blocking_splice(&from, 64 * 1024) {
                    Ok(_) => {}
                    Err(StreamError::Closed) => break,
                    // The client went: what is left has nobody to go to.
                    Err(StreamError::LastOperationFailed(_)) => return,
                }
            }
            let _ = to.blocking_flush();
        }
        let trailers = IncomingBody::finish(incoming);
        trailers.subscribe().block();
        let trailers = match trailers.get() {
            Some(Ok(Ok(trailers))) => trailers,
            _ => None,
        };
        let _ = OutgoingBody::finish(outgoing, trailers);
    }
}
