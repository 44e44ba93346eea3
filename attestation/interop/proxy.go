//go:build ignore

// Command proxy is the two proxies as Go programs usually make them, with net/http/httputil and aTLS: plain
// HTTP comes in, goes over attested TLS to the other one, and on to -to as plain HTTP. It is what our proxies
// are measured beside. Build it with its parts:
//
//	go build -o PROGRAM proxy.go atls.go evidence.go
package main

import (
	stdcontext "context"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

func main() {
	to := flag.String("to", "", "where requests go in the end, http://HOST:PORT")
	seed := flag.Int("seed", 1, "seed of the server's key of evidence")
	size := flag.Int("size", 10400, "bytes of its quote")
	h2 := flag.Bool("h2", false, "whether the proxies speak HTTP/2 with each other")
	flag.Parse()
	base := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}
	if *h2 {
		base.NextProtos = []string{"h2", "http/1.1"}
	}
	key, err := newKey()
	check(err)
	inner, outer := listen(), listen()

	node := side{own: attester{seed: *seed, size: *size}, peer: verifier{seed: -1}}
	server := http.Server{Handler: proxy(*to, &http.Transport{}), TLSConfig: node.server(base, key)}
	if !*h2 {
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	go func() { log.Fatal(server.ServeTLS(inner, "", "")) }()

	transport := &http.Transport{ForceAttemptHTTP2: *h2}
	transport.DialTLSContext = func(ctx stdcontext.Context, network, addr string) (net.Conn, error) {
		client := side{own: attester{seed: -1}, peer: verifier{seed: *seed}}
		config, err := client.client(base, "")
		if err != nil {
			return nil, err
		}
		dialer := tls.Dialer{Config: config}
		return dialer.DialContext(ctx, network, addr)
	}
	fmt.Println("listening", outer.Addr())
	log.Fatal(http.Serve(outer, proxy("https://"+inner.Addr().String(), transport)))
}

func proxy(to string, transport *http.Transport) http.Handler {
	target, err := url.Parse(to)
	check(err)
	// With the default of two, a new connection would be made for most requests.
	transport.MaxIdleConnsPerHost = 512
	rewrite := func(request *httputil.ProxyRequest) { request.SetURL(target) }
	return &httputil.ReverseProxy{Rewrite: rewrite, Transport: transport}
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	return listener
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
