// A wasi:http 0.2 handler in JavaScript: greets, and tells which path was asked for.
import {
  Fields,
  OutgoingBody,
  OutgoingResponse,
  ResponseOutparam,
} from "wasi:http/types@0.2.12";

export const incomingHandler = {
  handle(request, responseOut) {
    const path = request.pathWithQuery() ?? "/";
    const bytes = new TextEncoder().encode(`Hello from JavaScript! ${path}\n`);
    const headers = Fields.fromList([
      ["content-type", new TextEncoder().encode("text/plain; charset=utf-8")],
    ]);
    const response = new OutgoingResponse(headers);
    const body = response.body();
    ResponseOutparam.set(responseOut, { tag: "ok", val: response });
    const stream = body.write();
    stream.blockingWriteAndFlush(bytes);
    stream[Symbol.dispose]();
    OutgoingBody.finish(body, undefined);
  },
};
