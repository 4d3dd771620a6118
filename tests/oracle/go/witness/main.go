// Witness cosigns checkpoints of one log as C2SP's tlog-witness v1 says, on golang.org/x/mod/sumdb: only what it saw grow.
//
//	witness ADDRESS NAME SEED LOG-VKEY
//
// SEED is 32 bytes in hex. It listens on ADDRESS, prints its own vkey, and keeps its state in memory: it is for tests.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// cosignature is the type of its key, which x/mod doesn't know.
const cosignature = 4

type witness struct {
	sync.Mutex
	name string
	key  ed25519.PrivateKey
	log  note.Verifier
	seen tlog.Tree
	note []byte
}

// refusal is a status with a body.
type refusal struct {
	status int
	kind   string
	body   string
}

func (r refusal) Error() string { return r.body }

func refuse(status int, body string) error { return refusal{status, "text/plain", body + "\n"} }

func (w *witness) public() []byte {
	return append([]byte{cosignature}, w.key.Public().(ed25519.PublicKey)...)
}

func (w *witness) keyID() []byte {
	sum := sha256.Sum256(append([]byte(w.name+"\n"), w.public()...))
	return sum[:4]
}

func (w *witness) vkey() string {
	return fmt.Sprintf("%s+%x+%s", w.name, w.keyID(), base64.StdEncoding.EncodeToString(w.public()))
}

// cosign returns the line that says: at this time, this was the largest consistent tree I saw.
func (w *witness) cosign(text string, now time.Time) string {
	signed := ed25519.Sign(w.key, []byte(fmt.Sprintf("cosignature/v1\ntime %d\n%s", now.Unix(), text)))
	line := binary.BigEndian.AppendUint64(append([]byte{}, w.keyID()...), uint64(now.Unix()))
	return fmt.Sprintf("\u2014 %s %s\n", w.name, base64.StdEncoding.EncodeToString(append(line, signed...)))
}

// add decides on a request: the size it goes on from, hashes, a blank line, a checkpoint.
func (w *witness) add(body []byte) (string, error) {
	head, checkpoint, found := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	size, isOld := cutPrefix(lines[0], "old ")
	old, err := strconv.ParseInt(size, 10, 64)
	if !found || !isOld || err != nil || strconv.FormatInt(old, 10) != size || old < 0 || len(lines) > 64 {
		return "", refuse(http.StatusBadRequest, "the body begins with the old size and at most 63 hashes")
	}
	var proof tlog.TreeProof
	for _, line := range lines[1:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return "", refuse(http.StatusBadRequest, "a line of the proof is no hash")
		}
		proof = append(proof, hash)
	}
	if origin, _, _ := strings.Cut(string(checkpoint), "\n"); origin != w.log.Name() {
		return "", refuse(http.StatusNotFound, "this log is not known here")
	}
	opened, err := note.Open(checkpoint, note.VerifierList(w.log))
	if err != nil {
		return "", refuse(http.StatusForbidden, "the log's key didn't sign this")
	}
	return w.advance(old, proof, opened.Text, checkpoint)
}

func (w *witness) advance(old int64, proof tlog.TreeProof, text string, whole []byte) (string, error) {
	lines := strings.Split(text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	root, hashErr := tlog.ParseHash(lines[2])
	if err != nil || hashErr != nil || old > size {
		return "", refuse(http.StatusBadRequest, "the checkpoint has no size and root, or one below the old size")
	}
	w.Lock()
	defer w.Unlock()
	switch {
	case old != w.seen.N:
		return "", refusal{http.StatusConflict, "text/x.tlog.size", fmt.Sprintf("%d\n", w.seen.N)}
	case old == 0 && len(proof) > 0:
		return "", refuse(http.StatusUnprocessableEntity, "nothing is proven of an empty tree")
	case old == size && old > 0 && root != w.seen.Hash:
		return "", refusal{http.StatusConflict, "text/x.tlog.size", fmt.Sprintf("%d\n", w.seen.N)}
	case old == size && len(proof) > 0:
		return "", refuse(http.StatusUnprocessableEntity, "the same tree needs no proof")
	case old > 0 && old < size && tlog.CheckTree(proof, size, root, old, w.seen.Hash) != nil:
		return "", refuse(http.StatusUnprocessableEntity, "the tree doesn't begin with the one seen before")
	}
	w.seen, w.note = tlog.Tree{N: size, Hash: root}, whole
	return w.cosign(text, time.Now()), nil
}

func cutPrefix(text, prefix string) (string, bool) {
	return strings.TrimPrefix(text, prefix), strings.HasPrefix(text, prefix)
}

// serve answers requests to cosign, and gives monitors the checkpoint cosigned last.
func (w *witness) serve(answer http.ResponseWriter, request *http.Request) {
	origin := sha256.Sum256([]byte(w.log.Name()))
	switch {
	case request.Method == http.MethodPost && request.URL.Path == "/add-checkpoint":
		body, err := io.ReadAll(http.MaxBytesReader(answer, request.Body, 1<<20))
		line := ""
		if err == nil {
			line, err = w.add(body)
		}
		var refused refusal
		if errors.As(err, &refused) {
			answer.Header().Set("Content-Type", refused.kind)
			answer.WriteHeader(refused.status)
			line = refused.body
		} else if err != nil {
			answer.WriteHeader(http.StatusBadRequest)
		}
		io.WriteString(answer, line)
	case request.Method == http.MethodGet && request.URL.Path == "/"+hex.EncodeToString(origin[:])+"/checkpoint":
		w.Lock()
		defer w.Unlock()
		answer.Write(w.note)
	default:
		answer.WriteHeader(http.StatusNotFound)
	}
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "witness ADDRESS NAME SEED LOG-VKEY")
		os.Exit(1)
	}
	seed, err := hex.DecodeString(os.Args[3])
	log, keyErr := note.NewVerifier(os.Args[4])
	listener, listenErr := net.Listen("tcp", os.Args[1])
	for _, wrong := range []error{err, keyErr, listenErr} {
		if wrong != nil || len(seed) != ed25519.SeedSize {
			fmt.Fprintln(os.Stderr, "it can't start:", wrong)
			os.Exit(1)
		}
	}
	w := &witness{name: os.Args[2], key: ed25519.NewKeyFromSeed(seed), log: log}
	fmt.Println(w.vkey())
	http.Serve(listener, http.HandlerFunc(w.serve))
}
