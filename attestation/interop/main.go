// Interop is a peer for tests: aTLS as Go programs speak it, with Go's own TLS.
//
// It is written from the protocol's description and uses nothing but the standard library. Its
// evidence is not that of a machine: a "quote" is an Ed25519 signature by a test key over what a
// quote would have to be bound to, padded to any size, in the document of a TDX machine.
//
//	interop server [flags]   listens, prints "listening ADDRESS", serves -count connections
//	interop client [flags]   dials -addr, -count times
//	interop get [flags]      asks a machine of Azure for -url, whose evidence ends at -root
//
// Each connection ends with a line of JSON on standard output. What "get" verifies is evidence of a machine.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"time"
)

// report is what is printed of one connection.
type report struct {
	Error    string `json:"error"`
	Version  string `json:"version"`
	ALPN     string `json:"alpn"`
	Resumed  bool   `json:"resumed"`
	Peer     string `json:"peer"`
	Document int    `json:"document"`
	Received string `json:"received"`
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: interop server|client|get [flags]"))
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	addr := flags.String("addr", "127.0.0.1:0", "address to listen on or to dial")
	count := flags.Int("count", 1, "connections")
	version := flags.String("tls", "1.3", "the one TLS version: 1.2 or 1.3")
	seed := flags.Int("seed", -1, "seed of the own key of evidence; negative: no evidence")
	size := flags.Int("size", 1000, "bytes of the own quote")
	trust := flags.Int("trust", -1, "seed of the peer's key of evidence; negative: none is asked for")
	tickets := flags.Bool("tickets", true, "whether a server offers to resume sessions")
	cache := flags.Bool("cache", false, "whether a client keeps sessions to resume")
	name := flags.String("name", "", "server name that a client sends instead of a nonce")
	url := flags.String("url", "", "what get asks for")
	root := flags.String("root", "", "file of the DER certificate at which evidence must end")
	_ = flags.Parse(os.Args[2:])

	config := &tls.Config{MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS13}
	if *version == "1.2" {
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	}
	side := side{own: attester{seed: *seed, size: *size}, peer: verifier{seed: *trust}}
	switch os.Args[1] {
	case "server":
		config.SessionTicketsDisabled = !*tickets
		serve(config, &side, *addr, *count)
	case "client":
		if *cache {
			config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		}
		for range *count {
			print(dial(config, &side, *addr, *name))
		}
	case "get":
		if err := get(config, *url, *root); err != nil {
			fail(err)
		}
	default:
		fail(fmt.Errorf("unknown command %q", os.Args[1]))
	}
}

func serve(config *tls.Config, side *side, addr string, count int) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		fail(err)
	}
	fmt.Println("listening", listener.Addr())
	key, err := newKey()
	if err != nil {
		fail(err)
	}
	for range count {
		conn, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		side.seen = nil
		print(talk(tls.Server(conn, side.server(config, key)), side, "pong\n"))
	}
}

func dial(config *tls.Config, side *side, addr, name string) report {
	side.seen = nil
	client, err := side.client(config, name)
	if err != nil {
		return report{Error: err.Error()}
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return report{Error: err.Error()}
	}
	return talk(tls.Client(conn, client), side, "ping\n")
}

// talk does the handshake, sends one line and receives one.
func talk(conn *tls.Conn, side *side, line string) (result report) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if err := conn.Handshake(); err != nil {
		result.Error = err.Error()
		return result
	}
	state := conn.ConnectionState()
	result.Version = tls.VersionName(state.Version)
	result.ALPN = state.NegotiatedProtocol
	result.Resumed = state.DidResume
	if side.seen != nil {
		result.Peer, result.Document = side.seen.key, side.seen.size
	}
	_, err := conn.Write([]byte(line))
	if err == nil {
		result.Received, err = bufio.NewReader(conn).ReadString('\n')
	}
	if err != nil {
		result.Error = err.Error()
	}
	return result
}

func print(result report) {
	text, err := json.Marshal(result)
	if err != nil {
		fail(err)
	}
	fmt.Println(string(text))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "interop:", err)
	os.Exit(2)
}
