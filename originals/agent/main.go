// An agent of a node for tests: what an API server sees of a kubelet, with the streams of the original's own library and
// no containers behind them.
//
//	agent --listen ADDRESS:PORT --plain ADDRESS:PORT --cert FILE --key FILE --client-ca FILE --events FILE --directory FOLDER
//
// At --listen, with TLS and for clients with a certificate of the authority only: /containerLogs, /exec, /attach,
// /portForward, and everything that --plain serves. Commands run on this machine, in --directory. At --plain, for everybody:
// an echo of each request, and some pages whose answers are as those of pods. What begins and ends is a line of --events.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const patience = time.Minute

type agent struct {
	lock   sync.Mutex
	events *os.File
	// Where commands run.
	directory string
	// Where what pods serve listens.
	host string
}

// By which scripts/peers knows whether it is the one that it would build.
var version = "unknown"

func (a *agent) event(format string, values ...any) {
	a.lock.Lock()
	defer a.lock.Unlock()
	fmt.Fprintf(a.events, format+"\n", values...)
}

// ExecInContainer runs a command here.
func (a *agent) ExecInContainer(ctx context.Context, _, _, container string, words []string, in io.Reader, out, errs io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	a.event("exec %s begins: %q tty=%t", container, words, tty)
	defer a.event("exec %s ended", container)
	if tty {
		errs = out
		go func() {
			for size := range resize {
				a.event("exec %s has %d columns", container, size.Width)
			}
		}()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	command := exec.CommandContext(ctx, words[0], words[1:]...)
	command.Dir = a.directory
	command.WaitDelay = time.Second
	command.Stdout, command.Stderr = out, errs
	if in != nil {
		pipe, err := command.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(pipe, in)
			_ = pipe.Close()
			a.event("exec %s has no more input", container)
		}()
	}
	err := command.Run()
	if failed, ok := err.(*exec.ExitError); ok {
		return utilexec.CodeExitError{Err: err, Code: failed.ExitCode()}
	}
	return err
}

// AttachContainer gives back what it gets, until there is no more.
func (a *agent) AttachContainer(_ context.Context, _, _, container string, in io.Reader, out, errs io.WriteCloser, tty bool, _ <-chan remotecommand.TerminalSize) error {
	a.event("attach %s begins: tty=%t", container, tty)
	defer a.event("attach %s ended", container)
	if errs != nil {
		fmt.Fprintln(errs, "to errors")
	}
	if out == nil {
		return nil
	}
	fmt.Fprintln(out, "attached to", container)
	if in != nil {
		_, err := io.Copy(out, in)
		return err
	}
	return nil
}

// PortForward connects to a port of what pods serve.
func (a *agent) PortForward(_ context.Context, name, _ string, port int32, stream io.ReadWriteCloser) error {
	a.event("port-forward %s begins: %d", name, port)
	defer a.event("port-forward %s ended", name)
	defer stream.Close()
	connection, err := net.Dial("tcp", net.JoinHostPort(a.host, strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer connection.Close()
	ended := make(chan struct{}, 2)
	pipe := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	go pipe(connection, stream)
	go pipe(stream, connection)
	<-ended
	return nil
}

func (a *agent) exec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, a, r.PathValue("pod"), "", r.PathValue("container"), r.URL.Query()["command"], options, patience, patience, remotecommand.SupportedStreamingProtocols)
}

func (a *agent) attach(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeAttach(w, r, a, r.PathValue("pod"), "", r.PathValue("container"), options, patience, patience, remotecommand.SupportedStreamingProtocols)
}

func (a *agent) portForward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, a, r.PathValue("pod"), "", options, patience, patience, portforward.SupportedProtocols)
}

// logs answers as the name of the container says.
func (a *agent) logs(w http.ResponseWriter, r *http.Request) {
	container := r.PathValue("container")
	switch container {
	case "bad":
		http.Error(w, "container \"bad\" is waiting to start", http.StatusBadRequest)
		return
	case "gone":
		http.Error(w, "no such container", http.StatusNotFound)
		return
	case "broken":
		http.Error(w, "the runtime is away", http.StatusInternalServerError)
		return
	case "busy":
		http.Error(w, "too much", http.StatusTooManyRequests)
		return
	case "away":
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
		return
	}
	w.Header().Set("Transfer-Encoding", "chunked")
	fmt.Fprintf(w, "%s %s\n", container, r.URL.RawQuery)
	lines := 3
	if text := r.FormValue("tailLines"); text != "" {
		lines, _ = strconv.Atoi(text)
	}
	for line := range lines {
		fmt.Fprintf(w, "line %d\n", line)
	}
	if r.FormValue("follow") == "" {
		return
	}
	a.event("log %s begins", container)
	defer a.event("log %s ended", container)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// echo shows a request as it came.
func (a *agent) echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	certificate := ""
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		certificate = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Echo", "a")
	w.Header().Add("X-Echo", "b")
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Keep-Alive", "timeout=5")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"method": r.Method, "host": r.Host, "uri": r.RequestURI, "headers": r.Header, "body": string(body),
		"certificate": certificate, "remote": r.RemoteAddr != "",
	})
}

// upgrade gives bytes back for ever, in a protocol that nobody knows.
func (a *agent) upgrade(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "echo") {
		http.Error(w, "this speaks echo only", http.StatusForbidden)
		return
	}
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		log.Print(err)
		return
	}
	defer connection.Close()
	a.event("upgrade begins: %s", r.RequestURI)
	defer a.event("upgrade ended")
	_, _ = io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Own: 1\r\n\r\nhello\n")
	_, _ = io.Copy(connection, buffered)
}

func (a *agent) pages() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/", a.echo)
	mux.HandleFunc("/upgrade", a.upgrade)
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.FormValue("to"))
		w.WriteHeader(http.StatusFound)
	})
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		http.Error(w, "as you wish", code)
	})
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<html><head><link rel=\"x\" href=\"/style.css\"/></head><body>\n<a href=\"/a/b?c=d\">x</a> <a href=\"c\">y</a>\n<img src=\"http://elsewhere/i.png\"/><!-- <a href=\"/no\"> -->\n</body></html>\n")
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("0123456789abcdef"), 1<<16))
	})
	mux.HandleFunc("/dies", func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = connection.Close()
		}
	})
	return mux
}

func main() {
	listen := flag.String("listen", "", "address of the agent, with TLS")
	plain := flag.String("plain", "", "address of what pods serve, without")
	certificate := flag.String("cert", "", "certificate of the agent")
	key := flag.String("key", "", "its key")
	authority := flag.String("client-ca", "", "authority of its clients")
	events := flag.String("events", "", "file for what begins and ends")
	directory := flag.String("directory", "", "where commands run")
	ask := flag.Bool("version", false, "print the version and end")
	flag.Parse()
	if *ask {
		fmt.Println("agent", version)
		return
	}
	file, err := os.OpenFile(*events, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	host, _, err := net.SplitHostPort(*plain)
	if err != nil {
		log.Fatal(err)
	}
	a := &agent{events: file, directory: *directory, host: host}
	pem, err := os.ReadFile(*authority)
	if err != nil {
		log.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(pem)
	mux := a.pages()
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", a.logs)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", a.exec)
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", a.attach)
	mux.HandleFunc("/portForward/{namespace}/{pod}", a.portForward)
	go func() { log.Fatal(http.ListenAndServe(*plain, a.pages())) }()
	server := &http.Server{
		Addr: *listen, Handler: mux,
		TLSConfig: &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients, NextProtos: []string{"http/1.1"}},
	}
	log.Fatal(server.ListenAndServeTLS(*certificate, *key))
}
