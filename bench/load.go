package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// loadSpec is a load of equal requests. The generator writes bytes that were made
// before and reads no more of an answer than it must, since it shares the cores
// with what it measures.
type loadSpec struct {
	url, path   string
	connections int
	batch       int     // events a request
	perSecond   float64 // events; 0 = as fast as answers come
}

// sample is one event of 400 bytes. Its id ends in a number that is written anew
// for every event.
const sample = `{"specversion":"1.0","id":"01934b2e-7c1e-7a3b-%s-000000000000","source":"agent-runner","type":"agent.tokens",` +
	`"subject":"customer-0042","time":"%s","datacontenttype":"application/json",` +
	`"data":{"tokens":1834,"model":"large-2","agent":"planner","session":"0191d7a0-7c1e-7a3b-9c55-aabbccddeeff",` +
	`"latency_ms":812,"cached":false,"tools":["search","read"],"region":"eu-central"}}`

// run sends for the time given and returns the events that were acknowledged, in
// all and a second. Runs of one server with different numbers send different
// events.
func (l loadSpec) run(length time.Duration, number int) (total int64, perSecond float64, err error) {
	var (
		events atomic.Int64
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed error
	)
	began := time.Now()
	deadline := began.Add(length)
	for c := range l.connections {
		wg.Go(func() {
			if err := l.connection(number*1000+c, deadline, &events); err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return events.Load(), float64(events.Load()) / time.Since(began).Seconds(), failed
}

func (l loadSpec) connection(number int, deadline time.Time, events *atomic.Int64) error {
	conn, err := net.Dial("tcp", strings.TrimPrefix(l.url, "http://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	request, digits := l.request(number)
	in := bufio.NewReaderSize(conn, 4096)
	var pace time.Duration
	if l.perSecond > 0 {
		pace = time.Duration(float64(l.batch*l.connections) / l.perSecond * float64(time.Second))
	}
	next, n := time.Now(), 0
	for time.Now().Before(deadline) {
		if pace > 0 {
			if wait := time.Until(next); wait > 0 {
				time.Sleep(wait)
			}
			next = next.Add(pace)
		}
		for _, at := range digits {
			n++
			writeDigits(request[at:at+12], n)
		}
		if _, err := conn.Write(request); err != nil {
			return err
		}
		status, err := readAnswer(in)
		if err != nil {
			return err
		}
		if status != 204 {
			return fmt.Errorf("answered %d", status)
		}
		events.Add(int64(l.batch))
	}
	return nil
}

// request makes the bytes of a request, and finds where the ids' numbers are.
func (l loadSpec) request(number int) (request []byte, digits []int) {
	event := fmt.Sprintf(sample, fmt.Sprintf("%04x", number&0xffff), time.Now().UTC().Format(time.RFC3339))
	body, contentType := event, "application/cloudevents+json"
	if l.batch > 1 {
		body = "[" + strings.TrimSuffix(strings.Repeat(event+",", l.batch), ",") + "]"
		contentType = "application/cloudevents-batch+json"
	}
	request = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		l.path, key, contentType, len(body), body)
	for at := 0; ; {
		i := bytes.Index(request[at:], []byte("-000000000000"))
		if i < 0 {
			return request, digits
		}
		digits = append(digits, at+i+1)
		at += i + 13
	}
}

func writeDigits(dst []byte, n int) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
}

// readAnswer reads one answer and returns its status.
func readAnswer(in *bufio.Reader) (status int, err error) {
	length := 0
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		switch {
		case first:
			if len(line) < 12 {
				return 0, errors.New("no HTTP answer")
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, err
			}
		case len(line) <= 2:
			_, err = in.Discard(length)
			return status, err
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[16:]))); err != nil {
				return 0, err
			}
		}
	}
}
