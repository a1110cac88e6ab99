from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.page),
    path("chat", views.ask),
    path("streams/", include("streamstraight_celery.integrations.django.urls")),
]
