// What a service written in Go sees of the API socket, as one line of JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

var dials int

func main() {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		dials++
		return (&net.Dialer{}).DialContext(ctx, "unix", os.Args[1])
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	app := "http://localhost/v1/apps/payments"

	ask := func(method, url string, body io.Reader) (int, int64, []byte) {
		request, err := http.NewRequest(method, url, body)
		if err != nil {
			panic(err)
		}
		response, err := client.Do(request)
		if err != nil {
			panic(err)
		}
		defer response.Body.Close()
		read, err := io.ReadAll(response.Body)
		if err != nil {
			panic(err)
		}
		return response.StatusCode, response.ContentLength, read
	}

	seen := map[string]any{}
	code, _, body := ask("GET", app+"/token", nil)
	var token map[string]any
	if err := json.Unmarshal(body, &token); err != nil {
		panic(err)
	}
	seen["token"] = fmt.Sprintf("%d %v", code, token["app"])
	code, length, body := ask("HEAD", app+"/token", nil)
	seen["head"] = fmt.Sprintf("%d %v %d", code, length > 100, len(body))
	code, _, _ = ask("GET", app+"/token?format=x", nil)
	seen["bad parameter"] = fmt.Sprint(code)
	code, _, _ = ask("GET", "http://localhost/v1/apps/absent/token", nil)
	seen["absent"] = fmt.Sprint(code)
	code, _, _ = ask("POST", app+"/refresh", nil)
	seen["refresh"] = fmt.Sprint(code)
	code, _, _ = ask("POST", app+"/refresh", strings.NewReader(`{"a": "b"}`))
	seen["refresh with a body"] = fmt.Sprint(code)
	// A reader of unknown length is sent in chunks.
	code, _, _ = ask("POST", app+"/refresh", io.MultiReader(strings.NewReader("hello")))
	seen["refresh with chunks"] = fmt.Sprint(code)
	code, _, _ = ask("POST", app+"/refresh", strings.NewReader(strings.Repeat("x", 1_000_000)))
	seen["large body"] = fmt.Sprint(code)
	before := dials
	for range [100]struct{}{} {
		if code, _, _ = ask("GET", app+"/token", nil); code != 200 {
			panic(code)
		}
	}
	// The one before may have ended with the refusal.
	seen["connections for 100 more"] = fmt.Sprint(dials - before)
	if dials-before <= 1 {
		seen["connections for 100 more"] = "0 or 1"
	}

	response, err := client.Get(app + "/token?watch=1")
	if err != nil {
		panic(err)
	}
	line, err := bufio.NewReader(response.Body).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &token) != nil {
		panic(err)
	}
	seen["watch"] = fmt.Sprintf("%d %v", response.StatusCode, token["app"])
	response.Body.Close()
	json.NewEncoder(os.Stdout).Encode(seen)
}
