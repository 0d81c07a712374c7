// Command go-client uses client-go against an API server, as controllers do: informers, a work queue, leader election, the
// dynamic client, server-side apply, and protobuf.
//
//	go-client KUBECONFIG
//
// It prints a line for each thing that holds, and ends with an error at the first that does not.
package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/pager"
	"k8s.io/client-go/util/retry"
	"k8s.io/client-go/util/workqueue"
)

const (
	namespace = "go"
	limit     = 60 * time.Second
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(good bool, format string, arguments ...any) {
	if !good {
		panic(fmt.Sprintf(format, arguments...))
	}
}

func wait(what string, done func() bool) {
	for end := time.Now().Add(limit); !done(); time.Sleep(20 * time.Millisecond) {
		check(time.Now().Before(end), "%s: not within %s", what, limit)
	}
}

func configMap(name, value string) *corev1.ConfigMap {
	meta := metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"of": "go"}}
	return &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"a": value}}
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	must(err)
	config.QPS, config.Burst = 200, 400
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	json := kubernetes.NewForConfigOrDie(config)
	binary := *config
	binary.ContentType = runtime.ContentTypeProtobuf
	protobuf := kubernetes.NewForConfigOrDie(&binary)

	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	_, err = json.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
	must(err)
	objects(ctx, json, protobuf)
	control(ctx, protobuf)
	elect(ctx, json)
	unknown(ctx, dynamic.NewForConfigOrDie(config))
}

// objects creates, lists in pages, conflicts, patches and applies, in both encodings.
func objects(ctx context.Context, json, protobuf *kubernetes.Clientset) {
	maps, same := json.CoreV1().ConfigMaps(namespace), protobuf.CoreV1().ConfigMaps(namespace)
	for nth := range 12 {
		_, err := same.Create(ctx, configMap(fmt.Sprintf("c%02d", nth), "1"), metav1.CreateOptions{})
		must(err)
	}
	_, err := maps.Create(ctx, configMap("c00", "1"), metav1.CreateOptions{})
	check(apierrors.IsAlreadyExists(err), "a second one: %v", err)
	one, err := maps.Get(ctx, "c03", metav1.GetOptions{})
	must(err)
	other, err := same.Get(ctx, "c03", metav1.GetOptions{})
	must(err)
	check(reflect.DeepEqual(one, other), "JSON and protobuf differ: %v and %v", one, other)
	fmt.Println("created and read in both encodings")

	pages := pager.New(pager.SimplePageFunc(func(options metav1.ListOptions) (runtime.Object, error) {
		return same.List(ctx, options)
	}))
	pages.PageSize = 5
	count := 0
	must(pages.EachListItem(ctx, metav1.ListOptions{LabelSelector: "of=go"}, func(runtime.Object) error {
		count++
		return nil
	}))
	check(count == 12, "%d objects in pages", count)
	fmt.Println("listed in pages")

	one.Data["a"] = "2"
	_, err = maps.Update(ctx, one, metav1.UpdateOptions{})
	must(err)
	_, err = same.Update(ctx, one, metav1.UpdateOptions{})
	check(apierrors.IsConflict(err), "an old version: %v", err)
	tries := 0
	must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if tries++; tries > 1 {
			one, err = maps.Get(ctx, "c03", metav1.GetOptions{})
			must(err)
		}
		one.Data["a"] = "3"
		_, err := maps.Update(ctx, one, metav1.UpdateOptions{})
		return err
	}))
	check(tries == 2, "%d tries", tries)
	patch := []byte(`{"metadata":{"annotations":{"x":"y"}}}`)
	patched, err := same.Patch(ctx, "c03", types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	must(err)
	check(patched.Annotations["x"] == "y" && patched.Data["a"] == "3", "patched: %v", patched)
	fmt.Println("updated, refused an old version, tried again, patched")

	wanted := applycorev1.ConfigMap("applied", namespace).WithData(map[string]string{"a": "1"})
	_, err = maps.Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "first"})
	must(err)
	wanted = applycorev1.ConfigMap("applied", namespace).WithData(map[string]string{"a": "2"})
	_, err = same.Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "second"})
	check(apierrors.IsConflict(err), "another manager's field: %v", err)
	applied, err := same.Apply(ctx, wanted, metav1.ApplyOptions{FieldManager: "second", Force: true})
	must(err)
	check(applied.Data["a"] == "2" && len(applied.ManagedFields) == 1, "applied: %v", applied)
	fmt.Println("applied, refused a field of another manager, and took it by force")
}

// control runs an informer with a work queue that gives each ConfigMap an annotation, and waits for deletions.
func control(ctx context.Context, client *kubernetes.Clientset) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().ConfigMaps()
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]())
	defer queue.ShutDown()
	add := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			queue.Add(key)
		}
	}
	_, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(_, object any) { add(object) }, DeleteFunc: add,
	})
	must(err)
	maps := client.CoreV1().ConfigMaps(namespace)
	go func() {
		for {
			key, end := queue.Get()
			if end {
				return
			}
			_, name, _ := cache.SplitMetaNamespaceKey(key)
			found, err := informer.Lister().ConfigMaps(namespace).Get(name)
			if err == nil && found.Annotations["seen"] == "" && found.DeletionTimestamp == nil {
				changed := found.DeepCopy()
				if changed.Annotations == nil {
					changed.Annotations = map[string]string{}
				}
				changed.Annotations["seen"] = "yes"
				_, err = maps.Update(ctx, changed, metav1.UpdateOptions{})
			}
			if err != nil && !apierrors.IsNotFound(err) {
				queue.AddRateLimited(key)
			} else {
				queue.Forget(key)
			}
			queue.Done(key)
		}
	}()
	factory.Start(ctx.Done())
	check(cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced), "the cache is not filled")
	late := configMap("late", "1")
	late.Finalizers = []string{"example.org/wait"}
	_, err = maps.Create(ctx, late, metav1.CreateOptions{})
	must(err)
	wait("each ConfigMap is seen", func() bool {
		list, err := maps.List(ctx, metav1.ListOptions{})
		must(err)
		for _, item := range list.Items {
			if item.Annotations["seen"] != "yes" {
				return false
			}
		}
		return len(list.Items) == 14
	})
	must(maps.Delete(ctx, "late", metav1.DeleteOptions{}))
	waiting, err := maps.Get(ctx, "late", metav1.GetOptions{})
	must(err)
	check(waiting.DeletionTimestamp != nil, "it does not wait for its finalizer")
	_, err = maps.Patch(ctx, "late", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	must(err)
	must(maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "of=go"}))
	wait("the cache empties", func() bool {
		return len(informer.Informer().GetStore().List()) == 1
	})
	fmt.Println("an informer and a work queue saw every change")
}

// elect runs two candidates for one Lease: one leads, and the other follows when it gives up.
func elect(ctx context.Context, client *kubernetes.Clientset) {
	var leading atomic.Int32
	candidate := func(name string) (context.CancelFunc, chan struct{}) {
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		lock := &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: "leader", Namespace: namespace},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: name},
		}
		go func() {
			defer close(ended)
			leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
				Lock: lock, ReleaseOnCancel: true,
				LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 200 * time.Millisecond,
				Callbacks: leaderelection.LeaderCallbacks{
					OnStartedLeading: func(context.Context) { leading.Add(1) },
					OnStoppedLeading: func() {},
				},
			})
		}()
		return cancel, ended
	}
	stop, ended := candidate("one")
	wait("the first leads", func() bool { return leading.Load() == 1 })
	stopOther, _ := candidate("two")
	defer stopOther()
	stop()
	<-ended
	wait("the second leads", func() bool { return leading.Load() == 2 })
	lease, err := client.CoordinationV1().Leases(namespace).Get(ctx, "leader", metav1.GetOptions{})
	must(err)
	check(*lease.Spec.HolderIdentity == "two", "led by %s", *lease.Spec.HolderIdentity)
	fmt.Println("two candidates led one after the other")
}

// unknown works with a kind that is defined at run time, by the dynamic client.
func unknown(ctx context.Context, client dynamic.Interface) {
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "things.example.org"},
		"spec": map[string]any{
			"group": "example.org", "scope": "Namespaced",
			"names": map[string]any{"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "properties": map[string]any{"spec": map[string]any{
						"type": "object", "properties": map[string]any{"size": map[string]any{"type": "integer", "minimum": int64(1)}},
					}},
				}},
			}},
		},
	}}
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	_, err := client.Resource(definitions).Create(ctx, definition, metav1.CreateOptions{})
	must(err)
	things := client.Resource(schema.GroupVersionResource{Group: "example.org", Version: "v1", Resource: "things"}).Namespace(namespace)
	thing := func(size int64) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.org/v1", "kind": "Thing", "metadata": map[string]any{"name": "t"},
			"spec": map[string]any{"size": size, "unknown": "x"},
		}}
	}
	wait("the kind is served", func() bool {
		_, err = things.Create(ctx, thing(3), metav1.CreateOptions{})
		return err == nil
	})
	_, err = things.Update(ctx, thing(0), metav1.UpdateOptions{})
	check(apierrors.IsInvalid(err), "below its minimum: %v", err)
	found, err := things.Get(ctx, "t", metav1.GetOptions{})
	must(err)
	spec, _, _ := unstructured.NestedMap(found.Object, "spec")
	check(reflect.DeepEqual(spec, map[string]any{"size": int64(3)}), "pruned: %v", spec)
	events, err := things.Watch(ctx, metav1.ListOptions{ResourceVersion: found.GetResourceVersion()})
	must(err)
	must(things.Delete(ctx, "t", metav1.DeleteOptions{}))
	event := <-events.ResultChan()
	check(event.Type == "DELETED", "a watch says %v", event)
	fmt.Println("a kind that is defined at run time was used by the dynamic client")
}
