from django.urls import path

from . import views

urlpatterns = [
    path("", views.page),
    path("chat", views.ask),
    path("chat/<str:stream_id>", views.reopen),
    path("chat/<str:stream_id>/stop", views.stop),
]
