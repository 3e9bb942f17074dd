package store

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/kgents/kgents"
	"github.com/kgents/kgents/stream/backup"
)

const (
	amazon = "https://s3.amazonaws.com"

	attempts       = 4 // of a request, within 2 s when each fails at once
	connectTimeout = 5 * time.Second
	answerTimeout  = 30 * time.Second // from the end of a request to the beginning of its answer
	listTimeout    = 2 * time.Minute
	fileTimeout    = 10 * time.Minute // a file of 64 MiB, either way
)

// bucket is a store of the objects prefix/folder/file. Each is put by one request,
// under its MD5, so that the server keeps all of what was sent or nothing.
type bucket struct {
	api          minio.Core
	host         string
	name, prefix string // prefix is empty or ends with a slash
}

func openBucket(s Settings) (backup.Store, error) {
	name, prefix, _ := strings.Cut(strings.TrimPrefix(s.URL, scheme), "/")
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	if s.AccessKey == "" || s.SecretKey == "" {
		return nil, kgents.Errorf(kgents.CodeMisconfig, "a bucket needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or their files by ..._FILE")
	}
	u, err := url.Parse(cmp.Or(s.Endpoint, amazon))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, kgents.Errorf(kgents.CodeMisconfig, "BACKUP_S3_ENDPOINT is no server's URL: use https://host or https://host:port")
	}
	lookup := minio.BucketLookupPath // what every server but Amazon's takes
	if s.Endpoint == "" {
		lookup = minio.BucketLookupAuto
	}
	api, err := minio.NewCore(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Secure: u.Scheme == "https",
		Region: s.Region, BucketLookup: lookup, MaxRetries: attempts,
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
			TLSHandshakeTimeout:   connectTimeout,
			ResponseHeaderTimeout: answerTimeout,
			IdleConnTimeout:       answerTimeout,
			DisableCompression:    true, // what is stored is what is read
		},
	})
	if err != nil {
		return nil, kgents.Errorf(kgents.CodeMisconfig, "the bucket %s can't be used: %v", name, err)
	}
	return &bucket{api: *api, host: u.Host, name: name, prefix: prefix}, nil
}

func (b *bucket) String() string { return scheme + strings.TrimSuffix(b.name+"/"+b.prefix, "/") }

func (b *bucket) list(ctx context.Context, prefix string, deep bool, f func(minio.ObjectInfo)) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	for o := range b.api.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: prefix, Recursive: deep}) {
		if o.Err != nil {
			return b.explain(o.Err)
		}
		f(o)
	}
	return ctx.Err()
}

func (b *bucket) Folders(ctx context.Context) (out []string, err error) {
	err = b.list(ctx, b.prefix, false, func(o minio.ObjectInfo) {
		if name, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, b.prefix), "/"); ok && name != "" {
			out = append(out, name)
		}
	})
	return out, err
}

func (b *bucket) Files(ctx context.Context, folder string) (out []backup.File, err error) {
	prefix := b.prefix + folder + "/"
	err = b.list(ctx, prefix, true, func(o minio.ObjectInfo) {
		out = append(out, backup.File{Name: strings.TrimPrefix(o.Key, prefix), Bytes: o.Size})
	})
	return out, err
}

func (b *bucket) Put(ctx context.Context, folder, file string, content io.ReadSeeker, size int64) error {
	ctx, cancel := context.WithTimeout(ctx, fileTimeout)
	defer cancel()
	_, err := b.api.Client.PutObject(ctx, b.name, b.prefix+folder+"/"+file, content, size, minio.PutObjectOptions{
		ContentType: "application/octet-stream", SendContentMd5: true, DisableMultipart: true,
	})
	return b.explain(err)
}

func (b *bucket) Open(ctx context.Context, folder, file string) (io.ReadCloser, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, fileTimeout)
	body, info, _, err := b.api.GetObject(ctx, b.name, b.prefix+folder+"/"+file, minio.GetObjectOptions{})
	if err != nil {
		cancel()
		return nil, 0, b.explain(err)
	}
	return &object{body, cancel}, info.Size, nil
}

// object is one that is being read, for as long as its context lasts.
type object struct {
	io.ReadCloser
	cancel func()
}

func (o *object) Close() error {
	defer o.cancel()
	return o.ReadCloser.Close()
}

func (b *bucket) Remove(ctx context.Context, folder, file string) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	err := b.explain(b.api.RemoveObject(ctx, b.name, b.prefix+folder+"/"+file, minio.RemoveObjectOptions{}))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// explain says what to do about an error.
func (b *bucket) explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	answer := minio.ToErrorResponse(err)
	switch code := answer.Code; code {
	case minio.NoSuchKey:
		return fs.ErrNotExist
	case minio.NoSuchBucket:
		return kgents.Errorf(kgents.CodeMisconfig, "there is no bucket %s at %s: make it, or look at BACKUP_URL and BACKUP_S3_ENDPOINT", b.name, b.host)
	case minio.AccessDenied, "InvalidAccessKeyId", "SignatureDoesNotMatch":
		return kgents.Errorf(kgents.CodeMisconfig, "%s refuses the credentials for the bucket %s (%s): look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do", b.host, b.name, code)
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return kgents.Unavailable(time.Minute, "the bucket's server "+b.host+" doesn't answer: look at BACKUP_S3_ENDPOINT and the network between", err)
	}
	if answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests {
		return kgents.Unavailable(time.Minute, "the bucket's server "+b.host+" is not well ("+answer.Code+"): try again later", err)
	}
	return err
}
